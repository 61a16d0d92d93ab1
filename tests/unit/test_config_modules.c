/* Modules as the configuration sees them: names, files, the order in which
 * sources may tell of them. No module is loaded here: what is found is a file
 * of that name. tests/integration/test_modules.sh loads some. */
#include "unit/config_fixture.h"

#include "core/modules.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/kvt-modules-XXXXXX";
static char file[128]; /* of the module "toy" */

static void write_file(const char *path, const char *text)
{
    FILE *out = fopen(path, "w");

    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
}

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    snprintf(file, sizeof(file), "%s/kvtier-fs-toy.so", folder);
    write_file(file, "no shared object\n");
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(file);
    return rmdir(folder);
}

static void an_fs_value_ends_with_one_adapter(void **state)
{
    static const char *const good[] = {
        "posix",       "uring",
        "hf3fs",       "cephfs",
        "juicefs",     "mem",
        "fault:posix", "trace:fault:posix",
        "crash:mem",   "crash:fault:trace:uring",
    };
    static const char *const bad[] = {
        "posx",
        "fault",
        "trace:fault",
        "posix:fault",
        "posix:uring",
        ":",
        "posix:",
        ":posix",
        "fault::posix",
        "fault: posix",
        "Posix",
        "posix ",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    struct kvt_error err;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        fixture_set(*state, "fs", good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        fixture_refuse(*state, "fs", bad[i], "is no", &err);
    }
    fixture_refuse(*state, "fs", "trace:falt:posix", "no wrapper", &err);
    assert_non_null(strstr(err.remedy, "`fault`"));
    fixture_refuse(*state, "fs", "trace:posxi", "no adapter", &err);
    assert_non_null(strstr(err.remedy, "`posix`"));
}

static void a_name_is_known_when_its_file_is_found(void **state)
{
    struct kvt_error err;

    fixture_refuse(*state, "fs", "toy", "no adapter", &err);
    assert_non_null(strstr(err.remedy, "module_path"));
    fixture_set(*state, "module_path", folder);
    fixture_set(*state, "fs", "toy");
    fixture_set(*state, "fs", "trace:fault:toy");
    fixture_set(*state, "distributed.fs", "toy");
    fixture_refuse(*state, "fs", "tyo", "no adapter", &err);
    assert_non_null(strstr(err.remedy, "`toy`"));
    fixture_refuse(*state, "fs", "toy:posix", "no wrapper", &err);
    fixture_set(*state, "module_path", "");
    fixture_refuse(*state, "fs", "trace:toy", "no adapter", &err);
}

static void a_file_is_named_by_its_absolute_path(void **state)
{
    struct kvt_error err;
    char text[256];

    fixture_set(*state, "fs", file);
    snprintf(text, sizeof(text), "trace:fault:%s", file);
    fixture_set(*state, "fs", text);
    fixture_refuse(*state, "fs", "./kvtier-fs-toy.so", "is relative", &err);
    fixture_refuse(*state, "fs", "trace:a/kvtier-fs-toy.so", "is relative",
                   &err);
    fixture_refuse(*state, "fs", "/tmp/toy.so", "kvtier-fs-NAME.so", &err);
    fixture_refuse(*state, "fs", "/kvtier-fs-.so", "kvtier-fs-NAME.so", &err);
    fixture_refuse(*state, "fs", "/kvtier-fs-Toy.so", "kvtier-fs-NAME.so",
                   &err);
    fixture_refuse(*state, "fs", "/none/kvtier-fs-toy.so", "is no such file",
                   &err);
    snprintf(text, sizeof(text), "%s:fault", file);
    fixture_refuse(*state, "fs", text, "kvtier-fs-NAME.so", &err);
    snprintf(text, sizeof(text), "toy:%s", file);
    fixture_refuse(*state, "fs", text, "no wrapper", &err);
}

static void a_colon_in_a_folder_parts_nothing(void **state)
{
    char odd[64];
    char inside[128];
    char text[160];

    snprintf(odd, sizeof(odd), "%s/a:b", folder);
    snprintf(inside, sizeof(inside), "%s/kvtier-fs-toy.so", odd);
    assert_int_equal(mkdir(odd, 0700), 0);
    write_file(inside, "");
    snprintf(text, sizeof(text), "trace:%s", inside);
    fixture_set(*state, "fs", text);
    unlink(inside);
    rmdir(odd);
}

static void names_are_checked(void **state)
{
    static const char *const good[] = {
        "/kvtier-fs-a.so",
        "kvtier-fs-toy.so",
        "/x/kvtier-fs-a_9.so",
        "/kvtier-fs-abcdefghijklmnopqrstuvwxyz01234.so",
    };
    static const char *const bad[] = {
        "",
        "/",
        "/kvtier-fs-a",
        "/kvtier-fs-a.so.1",
        "/kvtier-fs-9a.so",
        "/kvtier-fs-_a.so",
        "/kvtier-fs-a-b.so",
        "/kvtier-fs-a.b.so",
        "/libkvtier-fs-a.so",
        "/kvtier-fs-.so",
        "/kvtier-fs.so",
        "/kvtier-fs-abcdefghijklmnopqrstuvwxyz012345.so",
        "/kvtier-fs-a.so/",
    };
    char name[KVT_MODULE_NAME_MAX + 1];

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(kvt_module_name_of(good[i], name));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(kvt_module_name_of(bad[i], name));
    }
    assert_true(kvt_module_name_of("/x/kvtier-fs-a_9.so", name));
    assert_string_equal(name, "a_9");
}

static void module_path_is_absolute_and_can_be_read(void **state)
{
    struct kvt_error err;

    fixture_refuse(*state, "module_path", "modules", "is relative", &err);
    fixture_refuse(*state, "module_path", "./modules", "an absolute path",
                   &err);
    fixture_set(*state, "path", "/a");
    fixture_set(*state, "module_path", folder);
    assert_int_equal(kvt_config_check(*state, &err), KVT_OK);
    fixture_set(*state, "module_path", file);
    assert_int_equal(kvt_config_check(*state, &err), KVT_ERR_INVALID_PARAMS);
    assert_int_equal(err.errnum, ENOTDIR);
    assert_string_equal(err.subject, "module_path");
    fixture_set(*state, "module_path", "/none/at/all");
    assert_int_equal(kvt_config_check(*state, &err), KVT_ERR_INVALID_PARAMS);
    assert_int_equal(err.errnum, ENOENT);
    assert_int_equal(kvt_config_load_modules(*state, &err),
                     KVT_ERR_INVALID_PARAMS);
    assert_non_null(strstr(err.message, "/none/at/all"));
}

/* Its settings are not simply unknown. */
static void a_setting_of_a_module_that_is_none_says_so(void **state)
{
    struct kvt_error err;

    fixture_refuse(*state, "toy.size", "1", "no setting", &err);
    assert_non_null(strstr(err.remedy, "module_path"));
    fixture_set(*state, "module_path", folder);
    assert_int_equal(kvt_config_set(*state, "toy.size", "1", &err),
                     KVT_ERR_NOT_SUPPORTED);
    assert_non_null(strstr(err.message, "toy.size from option"));
    assert_non_null(strstr(err.message, "is no shared object"));
    setenv("KVTIER_TOY_SIZE", "1", 1);
    assert_int_equal(kvt_config_load_env(*state, &err), KVT_ERR_NOT_SUPPORTED);
    assert_non_null(strstr(err.message, "KVTIER_TOY_SIZE"));
    assert_non_null(strstr(err.message, "is no shared object"));
    unsetenv("KVTIER_TOY_SIZE");
    /* by its file, without a folder */
    fixture_set(*state, "module_path", "");
    fixture_refuse(*state, "toy.size", "1", "no setting", &err);
    fixture_set(*state, "fs", file);
    assert_int_equal(kvt_config_set(*state, "toy.size", "1", &err),
                     KVT_ERR_NOT_SUPPORTED);
    assert_int_equal(kvt_config_load_modules(*state, &err), KVT_OK);
}

static void a_file_may_name_the_folder_last(void **state)
{
    char text[256];
    char path[128];
    char source[160];
    struct kvt_error err = {0};

    snprintf(path, sizeof(path), "%s/a.ini", folder);
    snprintf(source, sizeof(source), "file:%s", path);
    snprintf(text, sizeof(text), "fs = toy\nthreads = 3\nmodule_path = %s\n",
             folder);
    write_file(path, text);
    assert_int_equal(kvt_config_load_file(*state, path, &err), KVT_OK);
    fixture_expect(*state, "fs", "toy", source);
    fixture_expect(*state, "threads", "3", source);
    unlink(path);
}

static void the_environment_may_name_the_folder(void **state)
{
    setenv("KVTIER_FS", "toy", 1);
    setenv("KVTIER_MODULE_PATH", folder, 1);
    assert_int_equal(kvt_config_load_env(*state, NULL), KVT_OK);
    fixture_expect(*state, "fs", "toy", "env:KVTIER_FS");
    fixture_expect(*state, "module_path", folder, "env:KVTIER_MODULE_PATH");
}

/* One source names the adapter, another one the folder: either way. */
static void sources_may_share_the_work(void **state)
{
    char text[256];
    char path[128];
    struct kvt_error err = {0};

    snprintf(path, sizeof(path), "%s/a.ini", folder);
    write_file(path, "fs = toy\n");
    setenv("KVTIER_MODULE_PATH", folder, 1);
    assert_int_equal(kvt_config_load_file(*state, path, &err),
                     KVT_ERR_INVALID_PARAMS);
    assert_int_equal(kvt_config_load_module_path(*state, path, &err), KVT_OK);
    fixture_expect(*state, "fs", "posix", "default"); /* nothing else */
    assert_int_equal(kvt_config_load_file(*state, path, &err), KVT_OK);
    assert_int_equal(kvt_config_load_env(*state, &err), KVT_OK);
    fixture_clear_env();

    struct kvt_config *other = kvt_config_open();
    snprintf(text, sizeof(text), "module_path = %s\n", folder);
    write_file(path, text);
    setenv("KVTIER_FS", "toy", 1);
    assert_int_equal(kvt_config_load_env(other, &err), KVT_ERR_INVALID_PARAMS);
    assert_int_equal(kvt_config_load_module_path(other, path, &err), KVT_OK);
    assert_int_equal(kvt_config_load_env(other, &err), KVT_OK);
    assert_int_equal(kvt_config_load_file(other, path, &err), KVT_OK);
    fixture_expect(other, "fs", "toy", "env:KVTIER_FS");
    kvt_config_close(other);
    unlink(path);
}

struct names {
    char text[256];
};

static int note_file(const char *found, void *arg)
{
    struct names *names = arg;
    size_t used = strlen(names->text);

    snprintf(names->text + used, sizeof(names->text) - used, "%s ",
             strrchr(found, '/') + 1);
    return 0;
}

static int stop_at_once(const char *found, void *arg)
{
    (void)found;
    (void)arg;
    return 5;
}

static void a_listing_is_sorted_and_has_module_files_only(void **state)
{
    static const char *const others[] = {"kvtier-fs-b.so", "kvtier-fs-a.so",
                                         "libb.so", "kvtier-fs-c.so.0",
                                         "kvtier-fs-Bad.so"};
    struct names names = {""};
    char path[128];

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, others[i]);
        write_file(path, "");
    }
    assert_int_equal(kvt_module_each(folder, note_file, &names, NULL), KVT_OK);
    assert_string_equal(names.text, "kvtier-fs-Bad.so kvtier-fs-a.so "
                                    "kvtier-fs-b.so kvtier-fs-toy.so ");
    assert_int_equal(kvt_module_each(folder, stop_at_once, NULL, NULL), 5);
    for (size_t i = 0; i < 5; i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, others[i]);
        unlink(path);
    }
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        CASE(an_fs_value_ends_with_one_adapter),
        CASE(a_name_is_known_when_its_file_is_found),
        CASE(a_file_is_named_by_its_absolute_path),
        CASE(a_colon_in_a_folder_parts_nothing),
        CASE(names_are_checked),
        CASE(module_path_is_absolute_and_can_be_read),
        CASE(a_setting_of_a_module_that_is_none_says_so),
        CASE(a_file_may_name_the_folder_last),
        CASE(the_environment_may_name_the_folder),
        CASE(sources_may_share_the_work),
        CASE(a_listing_is_sorted_and_has_module_files_only),
    };

    return cmocka_run_group_tests(cases, make_folder, remove_folder) != 0;
}
