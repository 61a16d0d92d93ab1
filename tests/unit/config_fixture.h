/* What the tests of the configuration share. */
#ifndef KVT_TESTS_CONFIG_FIXTURE_H
#define KVT_TESTS_CONFIG_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <kvtier/config.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

/* The one who runs the tests may have settings of his own. */
static inline void fixture_clear_env(void)
{
    size_t i = 0;

    while (environ != NULL && environ[i] != NULL) {
        char name[2048];
        size_t size = strcspn(environ[i], "=");

        if (size < sizeof(name) && (strncmp(environ[i], "KVTIER_", 7) == 0 ||
                                    strncmp(environ[i], "MOONCAKE_", 9) == 0)) {
            memcpy(name, environ[i], size);
            name[size] = '\0';
            unsetenv(name);
            i = 0; /* the array has moved */
        } else {
            i++;
        }
    }
}

static inline int fixture_setup(void **state)
{
    fixture_clear_env();
    *state = kvt_config_open();
    return *state == NULL;
}

static inline int fixture_teardown(void **state)
{
    kvt_config_close(*state);
    fixture_clear_env();
    return 0;
}

#define CASE(name)                                                             \
    cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

static inline void fixture_expect(struct kvt_config *config, const char *key,
                                  const char *value, const char *source)
{
    struct kvt_setting setting;
    struct kvt_error err;

    assert_int_equal(kvt_config_get(config, key, &setting, &err), KVT_OK);
    assert_string_equal(setting.value, value);
    assert_string_equal(setting.source, source);
}

static inline void fixture_set(struct kvt_config *config, const char *key,
                               const char *value)
{
    struct kvt_error err = {0};
    int rc = kvt_config_set(config, key, value, &err);

    if (rc != KVT_OK) {
        fail_msg("%s = %s: %s", key, value, err.message);
    }
}

/* Refused, the message holds `part`, and the value is the one before. */
static inline void fixture_refuse(struct kvt_config *config, const char *key,
                                  const char *value, const char *part,
                                  struct kvt_error *err)
{
    struct kvt_setting setting;
    char before[4096] = "";

    if (kvt_config_get(config, key, &setting, NULL) == KVT_OK) {
        strncpy(before, setting.value, sizeof(before) - 1);
    }
    assert_int_equal(kvt_config_set(config, key, value, err),
                     KVT_ERR_INVALID_PARAMS);
    assert_int_equal(err->code, KVT_ERR_INVALID_PARAMS);
    assert_int_not_equal(err->errnum, 0);
    assert_string_equal(err->subject, key);
    assert_string_not_equal(err->remedy, "");
    assert_non_null(strstr(err->message, "option"));
    if (strstr(err->message, part) == NULL) {
        fail_msg("no `%s` in: %s", part, err->message);
    }
    if (kvt_config_get(config, key, &setting, NULL) == KVT_OK) {
        assert_string_equal(setting.value, before);
    }
}

#endif
