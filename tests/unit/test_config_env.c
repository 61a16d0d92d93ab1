#include "unit/config_fixture.h"

#include "core/config_table.h"

#include <stdio.h>
#include <unistd.h>

static void load(struct kvt_config *config)
{
    struct kvt_error err = {0};

    if (kvt_config_load_env(config, &err) != KVT_OK) {
        fail_msg("%s: %s", err.subject, err.message);
    }
}

/* Refused as a whole: a good variable beside the bad one is not taken. */
static void refuse(struct kvt_config *config, const char *name,
                   const char *value, struct kvt_error *err)
{
    setenv(name, value, 1);
    setenv("KVTIER_THREADS", "5", 1);
    assert_int_equal(kvt_config_load_env(config, err), KVT_ERR_INVALID_PARAMS);
    assert_int_equal(err->code, KVT_ERR_INVALID_PARAMS);
    assert_non_null(strstr(err->message, name));
    assert_string_not_equal(err->remedy, "");
    fixture_expect(config, "threads", "16", "default");
    unsetenv(name);
    unsetenv("KVTIER_THREADS");
}

static void each_name_of_the_table_works(void **state)
{
    static const char *const rows[][4] = {
        {"MOONCAKE_OFFLOAD_STORAGE_BACKEND_DESCRIPTOR",
         "bucket_storage_backend", "backend", "bucket"},
        {"MOONCAKE_OFFLOAD_FILE_STORAGE_PATH", "/data/kv", "path", "/data/kv"},
        {"MOONCAKE_OFFLOAD_USE_URING", "true", "fs", "uring"},
        {"MOONCAKE_DISTRIBUTED_ROOT_DIR", "/shared", "distributed.path",
         "/shared"},
        {"MOONCAKE_DISTRIBUTED_FS_TYPE", "hf3fs", "distributed.fs", "hf3fs"},
        {"MOONCAKE_DISTRIBUTED_HEALTH_CHECK", "true",
         "distributed.health_check", "on"},
        {"MOONCAKE_DISTRIBUTED_HASH_BUCKET_COUNT", "1024",
         "distributed.hash_bucket_count", "1024"},
        {"MOONCAKE_OFFLOAD_SCANMETA_ITERATOR_KEYS_LIMIT", "77",
         "scan_meta_keys_limit", "77"},
        {"MOONCAKE_OFFLOAD_TOTAL_KEYS_LIMIT", "5000", "total_keys_limit",
         "5000"},
        {"MOONCAKE_OFFLOAD_TOTAL_SIZE_LIMIT_BYTES", "2199023255552",
         "total_size_limit", "2199023255552"},
        {"MOONCAKE_OFFLOAD_BUCKET_SIZE_LIMIT_BYTES", "1048576",
         "bucket.size_limit", "1048576"},
        {"MOONCAKE_OFFLOAD_BUCKET_KEYS_LIMIT", "9", "bucket.keys_limit", "9"},
        {"MOONCAKE_OFFLOAD_BUCKET_EVICTION_POLICY", "fifo", "eviction", "fifo"},
        {"MOONCAKE_OFFLOAD_DISK_EVICTION_HIGH_WATERMARK_RATIO", "0.95",
         "watermark.high", "0.95"},
        {"MOONCAKE_OFFLOAD_DISK_EVICTION_LOW_WATERMARK_RATIO", "0.5",
         "watermark.low", "0.5"},
    };
    size_t names = 0;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kvt_config *config = kvt_config_open();
        char source[128];

        snprintf(source, sizeof(source), "env:%s", rows[i][0]);
        setenv(rows[i][0], rows[i][1], 1);
        load(config);
        fixture_expect(config, rows[i][2], rows[i][3], source);
        load(*state); /* all of them together, too */
        kvt_config_close(config);
    }
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char source[128];

        snprintf(source, sizeof(source), "env:%s", rows[i][0]);
        fixture_expect(*state, rows[i][2], rows[i][3], source);
    }
    for (size_t i = 0; kvt_config_group_at(i) != NULL; i++) {
        const struct kvt_config_group *group = kvt_config_group_at(i);

        for (size_t j = 0; j < group->count; j++) {
            names += group->rows[j].env != NULL;
            names += group->rows[j].env_on != NULL;
        }
    }
    assert_int_equal(names, sizeof(rows) / sizeof(rows[0]));
}

static void all_four_backends_are_known_by_both_names(void **state)
{
    static const char *const names[] = {"file_per_key", "bucket",
                                        "offset_allocator", "distributed"};
    static const char name[] = "MOONCAKE_OFFLOAD_STORAGE_BACKEND_DESCRIPTOR";

    for (size_t i = 0; i < 4; i++) {
        char alias[64];

        setenv(name, names[i], 1);
        load(*state);
        fixture_expect(*state, "backend", names[i],
                       "env:MOONCAKE_OFFLOAD_STORAGE_BACKEND_DESCRIPTOR");
        snprintf(alias, sizeof(alias), "%s_storage_backend", names[i]);
        setenv(name, alias, 1);
        load(*state);
        fixture_expect(*state, "backend", names[i],
                       "env:MOONCAKE_OFFLOAD_STORAGE_BACKEND_DESCRIPTOR");
    }
}

static int set_by_own_name(const struct kvt_setting *setting, void *arg)
{
    char name[128];
    char source[160];
    const char *value = setting->value[0] ? setting->value : "posix";

    if (strstr(setting->key, "NAME") != NULL) {
        return 0;
    }
    if (strcmp(setting->type, "string") == 0 &&
        strstr(setting->key, "path") != NULL) {
        value = "/p";
    }
    snprintf(name, sizeof(name), "KVTIER_%s", setting->key);
    for (char *c = name; *c != '\0'; c++) {
        *c = *c == '.' ? '_' : *c;
        *c = *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c;
    }
    snprintf(source, sizeof(source), "env:%s", name);
    setenv(name, value, 1);
    load(arg);
    fixture_expect(arg, setting->key, value, source);
    return 0;
}

static void each_key_has_a_name_of_ours(void **state)
{
    struct kvt_config *other = kvt_config_open();

    assert_int_equal(kvt_config_each(*state, set_by_own_name, other), 0);
    kvt_config_close(other);
}

static void use_uring_false_leaves_the_fs_alone(void **state)
{
    setenv("MOONCAKE_OFFLOAD_USE_URING", "false", 1);
    load(*state);
    fixture_expect(*state, "fs", "posix", "default");
    setenv("KVTIER_FS", "mem", 1);
    load(*state);
    fixture_expect(*state, "fs", "mem", "env:KVTIER_FS");
    setenv("MOONCAKE_OFFLOAD_USE_URING", "1", 1);
    load(*state);
    fixture_expect(*state, "fs", "mem", "env:KVTIER_FS");
}

static void ours_win_whatever_the_order(void **state)
{
    setenv("KVTIER_EVICTION", "none", 1);
    setenv("MOONCAKE_OFFLOAD_BUCKET_EVICTION_POLICY", "fifo", 1);
    load(*state);
    fixture_expect(*state, "eviction", "none", "env:KVTIER_EVICTION");
    unsetenv("KVTIER_EVICTION");
    load(*state);
    fixture_expect(*state, "eviction", "none", "env:KVTIER_EVICTION");
}

static void an_option_wins_even_when_it_came_first(void **state)
{
    fixture_set(*state, "threads", "3");
    setenv("KVTIER_THREADS", "4", 1);
    load(*state);
    fixture_expect(*state, "threads", "3", "option");
}

static void a_value_that_does_not_win_is_still_checked(void **state)
{
    struct kvt_error err;

    fixture_set(*state, "eviction", "lru");
    refuse(*state, "KVTIER_EVICTION", "clock", &err);
    refuse(*state, "MOONCAKE_OFFLOAD_BUCKET_EVICTION_POLICY", "clock", &err);
}

static void an_unknown_name_of_ours_is_refused_with_a_suggestion(void **state)
{
    static const char *const rows[][2] = {
        {"KVTIER_EVICTON", "`KVTIER_EVICTION`"},
        {"KVTIER_DISTRIBUTED_FORMATS", "`KVTIER_DISTRIBUTED_FORMAT`"},
        {"KVTIER_path", "`KVTIER_PATH`"},
        {"KVTIER_BIN", ""},
        {"KVTIER_SOURCE_DIR", ""},
        {"KVTIER_", ""},
        {"KVTIER_CEPHFS_OPTION_", ""},
        {"KVTIER_CEPHFS_OPTION_A-B", ""},
        {"KVTIER_CEPHFS_OPTION_NAM\xc3\x89", ""},
    };
    struct kvt_error err;
    char name[1200];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        refuse(*state, rows[i][0], "value", &err);
        assert_non_null(strstr(err.message, "value"));
        assert_non_null(strstr(err.remedy, rows[i][1]));
    }
    strcpy(name, "KVTIER_CEPHFS_OPTION_");
    memset(name + 21, 'A', sizeof(name) - 22);
    name[sizeof(name) - 1] = '\0';
    setenv(name, "v", 1);
    assert_int_equal(kvt_config_load_env(*state, &err), KVT_ERR_INVALID_PARAMS);
}

static void unknown_names_of_others_are_left_alone(void **state)
{
    setenv("MOONCAKE_MASTER", "10.0.0.1", 1);
    setenv("MOONCAKE_OFFLOAD_EVICTION", "nonsense", 1);
    setenv("KVTIERX", "1", 1);
    load(*state);
}

static void an_empty_variable_is_refused(void **state)
{
    struct kvt_error err;

    refuse(*state, "KVTIER_PATH", "", &err);
    refuse(*state, "KVTIER_EVICTION", "", &err);
    refuse(*state, "MOONCAKE_OFFLOAD_TOTAL_KEYS_LIMIT", "", &err);
    refuse(*state, "MOONCAKE_OFFLOAD_USE_URING", "", &err);
    setenv("KVTIER_FAULT_RULES", "", 1);
    load(*state);
    fixture_expect(*state, "fault.rules", "", "env:KVTIER_FAULT_RULES");
}

static void a_bad_value_names_its_variable(void **state)
{
    static const char *const rows[][3] = {
        {"MOONCAKE_OFFLOAD_USE_URING", "maybe", "maybe"},
        {"MOONCAKE_OFFLOAD_TOTAL_SIZE_LIMIT_BYTES", "lots", "1% to 100%"},
        {"MOONCAKE_DISTRIBUTED_FS_TYPE", "3fs", "hf3fs"},
        {"MOONCAKE_DISTRIBUTED_HASH_BUCKET_COUNT", "-4", "negative"},
        {"MOONCAKE_OFFLOAD_STORAGE_BACKEND_DESCRIPTOR", "posix",
         "file_per_key"},
        {"KVTIER_OBJECT_SIZE_MAX", "2G", "4KiB to 1GiB"},
    };
    struct kvt_error err;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        refuse(*state, rows[i][0], rows[i][1], &err);
        assert_non_null(strstr(err.message, rows[i][1]));
        assert_non_null(strstr(err.message, rows[i][2]));
    }
}

static void a_family_works_through_the_environment(void **state)
{
    setenv("KVTIER_CEPHFS_OPTION_CLIENT_MOUNT_TIMEOUT", "5", 1);
    load(*state);
    fixture_expect(*state, "cephfs.option.client_mount_timeout", "5",
                   "env:KVTIER_CEPHFS_OPTION_CLIENT_MOUNT_TIMEOUT");
    /* once there, it is found and not added again */
    setenv("KVTIER_CEPHFS_OPTION_CLIENT_MOUNT_TIMEOUT", "6", 1);
    load(*state);
    fixture_expect(*state, "cephfs.option.client_mount_timeout", "6",
                   "env:KVTIER_CEPHFS_OPTION_CLIENT_MOUNT_TIMEOUT");
}

static void a_relative_root_is_made_absolute(void **state)
{
    char before[4096];

    assert_non_null(getcwd(before, sizeof(before)));
    assert_int_equal(chdir("/usr"), 0);
    setenv("MOONCAKE_DISTRIBUTED_ROOT_DIR", "kv", 1);
    load(*state);
    assert_int_equal(chdir(before), 0);
    fixture_expect(*state, "distributed.path", "/usr/kv",
                   "env:MOONCAKE_DISTRIBUTED_ROOT_DIR");
}

static void a_null_configuration_is_refused(void **state)
{
    (void)state;
    assert_int_equal(kvt_config_load_env(NULL, NULL), KVT_ERR_INVALID_PARAMS);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        CASE(each_name_of_the_table_works),
        CASE(all_four_backends_are_known_by_both_names),
        CASE(each_key_has_a_name_of_ours),
        CASE(use_uring_false_leaves_the_fs_alone),
        CASE(ours_win_whatever_the_order),
        CASE(an_option_wins_even_when_it_came_first),
        CASE(a_value_that_does_not_win_is_still_checked),
        CASE(an_unknown_name_of_ours_is_refused_with_a_suggestion),
        CASE(unknown_names_of_others_are_left_alone),
        CASE(an_empty_variable_is_refused),
        CASE(a_bad_value_names_its_variable),
        CASE(a_family_works_through_the_environment),
        CASE(a_relative_root_is_made_absolute),
        CASE(a_null_configuration_is_refused),
    };

    return cmocka_run_group_tests(cases, NULL, NULL) != 0;
}
