#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <kvtier/error.h>
#include <limits.h>
#include <string.h>

static void set_fills_every_field_and_returns_the_code(void **state)
{
    struct kvt_error err;

    (void)state;
    memset(&err, 0xff, sizeof(err));
    assert_int_equal(kvt_error_set(&err, KVT_ERR_FILE_OPEN_FAIL, EACCES, "/a",
                                   "try", "opening %s %d", "x", 7),
                     KVT_ERR_FILE_OPEN_FAIL);
    assert_int_equal(err.code, KVT_ERR_FILE_OPEN_FAIL);
    assert_int_equal(err.errnum, EACCES);
    assert_string_equal(err.subject, "/a");
    assert_string_equal(err.remedy, "try");
    assert_string_equal(err.message, "opening x 7");
}

static void null_texts_become_empty_ones(void **state)
{
    struct kvt_error err;

    (void)state;
    memset(&err, 0xff, sizeof(err));
    kvt_error_set(&err, KVT_ERR_INTERNAL, 0, NULL, NULL, "m");
    assert_string_equal(err.subject, "");
    assert_string_equal(err.remedy, "");
}

static void a_null_error_still_returns_the_code(void **state)
{
    (void)state;
    assert_int_equal(kvt_error_set(NULL, -1, 0, "s", "r", "%d", 1), -1);
    kvt_error_prefix(NULL, "%d", 1);
}

static void texts_of_the_error_itself_may_be_arguments(void **state)
{
    struct kvt_error err;

    (void)state;
    kvt_error_set(&err, -1, 0, "subject", "remedy", "message");
    kvt_error_set(&err, -10, 0, err.remedy, err.subject, "[%s]", err.message);
    assert_string_equal(err.subject, "remedy");
    assert_string_equal(err.remedy, "subject");
    assert_string_equal(err.message, "[message]");
    kvt_error_prefix(&err, "%s", err.message);
    assert_string_equal(err.message, "[message]: [message]");
}

static void long_texts_are_cut_and_terminated(void **state)
{
    struct kvt_error err;
    char text[2000];

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    kvt_error_set(&err, -1, 0, text, text, "%s", text);
    assert_int_equal(strlen(err.subject), sizeof(err.subject) - 1);
    assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
    assert_int_equal(strlen(err.remedy), sizeof(err.remedy) - 1);
    kvt_error_prefix(&err, "%s", "opening");
    assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
    assert_int_equal(strncmp(err.message, "opening: xxx", 12), 0);
}

static void a_text_of_exactly_the_room_is_whole(void **state)
{
    struct kvt_error err;
    char text[sizeof(err.subject)];

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    kvt_error_set(&err, -1, 0, text, NULL, "m");
    assert_string_equal(err.subject, text);
}

static void a_cut_never_splits_a_utf8_letter(void **state)
{
    struct kvt_error err;
    char text[1000];

    (void)state;
    for (size_t shift = 0; shift < 3; shift++) {
        size_t kept;

        memset(text, 0, sizeof(text));
        memset(text, 'x', shift);
        for (size_t i = shift; i + 3 < sizeof(text); i += 3) {
            memcpy(text + i, "\xe2\x82\xac", 3);
        }
        kvt_error_set(&err, -1, 0, text, text, "%s", text);
        kept = strlen(err.subject);
        assert_int_equal((kept - shift) % 3, 0);
        assert_true(kept > sizeof(err.subject) - 4);
        assert_int_equal((strlen(err.message) - shift) % 3, 0);
        assert_int_equal((strlen(err.remedy) - shift) % 3, 0);
    }
}

static void prefixes_stack_outward(void **state)
{
    struct kvt_error err;

    (void)state;
    kvt_error_set(&err, -1, EIO, "s", "r", "reading");
    kvt_error_prefix(&err, "bucket %d", 3);
    kvt_error_prefix(&err, "opening the store");
    assert_string_equal(err.message, "opening the store: bucket 3: reading");
    assert_int_equal(err.errnum, EIO);
    assert_string_equal(err.subject, "s");
    assert_string_equal(err.remedy, "r");
}

static void every_status_has_its_name(void **state)
{
    static const struct {
        int code;
        const char *name;
    } rows[] = {
        {0, "KVT_OK"},
        {-1, "KVT_ERR_INTERNAL"},
        {-10, "KVT_ERR_BUFFER_OVERFLOW"},
        {-400, "KVT_ERR_INVALID_KEY"},
        {-600, "KVT_ERR_INVALID_PARAMS"},
        {-704, "KVT_ERR_OBJECT_NOT_FOUND"},
        {-705, "KVT_ERR_OBJECT_ALREADY_EXISTS"},
        {-801, "KVT_ERR_CHECKSUM_MISMATCH"},
        {-1012, "KVT_ERR_NOT_SUPPORTED"},
        {-1100, "KVT_ERR_FILE_NOT_FOUND"},
        {-1101, "KVT_ERR_FILE_OPEN_FAIL"},
        {-1102, "KVT_ERR_FILE_READ_FAIL"},
        {-1103, "KVT_ERR_FILE_WRITE_FAIL"},
        {-1104, "KVT_ERR_FILE_INVALID_BUFFER"},
        {-1105, "KVT_ERR_FILE_LOCK_FAIL"},
        {-1106, "KVT_ERR_FILE_INVALID_HANDLE"},
        {-1200, "KVT_ERR_BUCKET_NOT_FOUND"},
        {-1201, "KVT_ERR_BUCKET_ALREADY_EXISTS"},
        {-1202, "KVT_ERR_KEYS_EXCEED_BUCKET_LIMIT"},
        {-1203, "KVT_ERR_KEYS_ULTRA_LIMIT"},
        {-1300, "KVT_ERR_UNABLE_OFFLOAD"},
        {-1600, "KVT_ERR_DFS_NETWORK_TIMEOUT"},
        {-1601, "KVT_ERR_DFS_SERVICE_UNAVAILABLE"},
        {-1602, "KVT_ERR_DFS_QUOTA_EXCEEDED"},
        {-1603, "KVT_ERR_DFS_PERMISSION_DENIED"},
        {-1604, "KVT_ERR_DFS_STALE_HANDLE"},
        {-1605, "KVT_ERR_DFS_PARTIAL_WRITE"},
        {-2, "KVT_ERR_UNKNOWN"},
        {1, "KVT_ERR_UNKNOWN"},
        {-1606, "KVT_ERR_UNKNOWN"},
        {INT_MIN, "KVT_ERR_UNKNOWN"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_string_equal(kvt_status_name(rows[i].code), rows[i].name);
    }
}

static void errno_names_take_either_sign(void **state)
{
    (void)state;
    assert_string_equal(kvt_errno_name(0), "0");
    assert_string_equal(kvt_errno_name(ENOSPC), "ENOSPC");
    assert_string_equal(kvt_errno_name(-ENOSPC), "ENOSPC");
    assert_string_equal(kvt_errno_name(EPERM), "EPERM");
    assert_string_equal(kvt_errno_name(EAGAIN), "EAGAIN");
    assert_string_equal(kvt_errno_name(EOPNOTSUPP), "EOPNOTSUPP");
    assert_string_equal(kvt_errno_name(EDQUOT), "EDQUOT");
    assert_string_equal(kvt_errno_name(ESTALE), "ESTALE");
    assert_string_equal(kvt_errno_name(-EREMOTEIO), "EREMOTEIO");
    assert_string_equal(kvt_errno_name(EHWPOISON), "EHWPOISON");
}

static void a_number_that_is_no_errno_is_said_to_be_none(void **state)
{
    (void)state;
    assert_string_equal(kvt_errno_name(41), "E?"); /* a hole of the table */
    assert_string_equal(kvt_errno_name(EHWPOISON + 1), "E?");
    assert_string_equal(kvt_errno_name(INT_MAX), "E?");
    assert_string_equal(kvt_errno_name(INT_MIN), "E?");
    assert_string_equal(kvt_errno_name(-4096), "E?");
}

/* The C library names what this system has: none may be missing here. */
static void every_errno_of_the_system_has_a_name(void **state)
{
    (void)state;
    for (int errnum = 1; errnum <= 133; errnum++) {
        if (strncmp(strerror(errnum), "Unknown error", 13) != 0) {
            assert_string_not_equal(kvt_errno_name(errnum), "E?");
        }
    }
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(set_fills_every_field_and_returns_the_code),
        cmocka_unit_test(null_texts_become_empty_ones),
        cmocka_unit_test(a_null_error_still_returns_the_code),
        cmocka_unit_test(texts_of_the_error_itself_may_be_arguments),
        cmocka_unit_test(long_texts_are_cut_and_terminated),
        cmocka_unit_test(a_text_of_exactly_the_room_is_whole),
        cmocka_unit_test(a_cut_never_splits_a_utf8_letter),
        cmocka_unit_test(prefixes_stack_outward),
        cmocka_unit_test(every_status_has_its_name),
        cmocka_unit_test(errno_names_take_either_sign),
        cmocka_unit_test(a_number_that_is_no_errno_is_said_to_be_none),
        cmocka_unit_test(every_errno_of_the_system_has_a_name),
    };

    return cmocka_run_group_tests(cases, NULL, NULL) != 0;
}
