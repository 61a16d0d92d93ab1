#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/config_value.h"

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void sizes_take_every_unit(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } rows[] = {
        {"0", 0},
        {"1", 1},
        {"007", 7},
        {"4096", 4096},
        {"4096B", 4096},
        {"1K", 1024},
        {"1k", 1024},
        {"1KiB", 1024},
        {"1kib", 1024},
        {"1KB", 1000},
        {"256MiB", UINT64_C(268435456)},
        {"3M", UINT64_C(3) << 20},
        {"3MB", 3000000},
        {"4G", UINT64_C(4) << 30},
        {"4GiB", UINT64_C(4) << 30},
        {"4GB", UINT64_C(4000000000)},
        {"2T", UINT64_C(2) << 40},
        {"2TB", UINT64_C(2000000000000)},
        {"2P", UINT64_C(2) << 50},
        {"2PB", UINT64_C(2000000000000000)},
        {"15E", UINT64_C(15) << 60},
        {"1EB", UINT64_C(1000000000000000000)},
        {"18446744073709551615", UINT64_MAX},
        {"18014398509481983K", UINT64_MAX - 1023},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t bytes = 42;

        assert_int_equal(kvt_value_size(rows[i].text, &bytes), 0);
        assert_true(bytes == rows[i].bytes);
    }
}

static void sizes_that_overflow_are_refused(void **state)
{
    static const char *const texts[] = {
        "18446744073709551616",
        "99999999999999999999",
        "16E",
        "16777216T",
        "18014398509481984K",
        "19EB",
        "20000000000G",
        "99999999999999999999999999999999999999999999999999K",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        uint64_t bytes = 42;

        assert_int_equal(kvt_value_size(texts[i], &bytes), -ERANGE);
        assert_true(bytes == 42);
    }
}

static void what_is_no_size_is_refused(void **state)
{
    static const char *const texts[] = {
        "",     " ",   "-1",   "+1",    " 1",   "1 ",  "1 K",  "K",
        "1.5G", "1KK", "1Kb ", "1KiBs", "1Ki",  "1iB", "0x10", "1e3",
        "1%",   "1Q",  "one",  "1,000", "1M1K", "--1", "1\n",  "1Bi",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        uint64_t bytes = 42;

        if (kvt_value_size(texts[i], &bytes) != -EINVAL) {
            fail_msg("taken: \"%s\"", texts[i]);
        }
        assert_true(bytes == 42);
    }
}

static void counts_are_plain_digits(void **state)
{
    static const char *const bad[] = {"",   "-1", "+1", "1K", "1.0",
                                      " 1", "1 ", "a",  "0x1"};
    uint64_t count = 42;

    (void)state;
    assert_int_equal(kvt_value_count("0", &count), 0);
    assert_true(count == 0);
    assert_int_equal(kvt_value_count("18446744073709551615", &count), 0);
    assert_true(count == UINT64_MAX);
    assert_int_equal(kvt_value_count("18446744073709551616", &count), -ERANGE);
    assert_true(count == UINT64_MAX);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(kvt_value_count(bad[i], &count), -EINVAL);
    }
}

static void ratios_lie_between_0_and_1(void **state)
{
    static const char *const bad[] = {
        "",     ".5",   "-0.1", "0.",  "0,5", "1e-1",
        "0.5x", " 0.5", "nan",  "inf", "50%", "0.1234567890123456"};
    static const char *const large[] = {"1.1", "2", "1.000000000000001", "90",
                                        "99999999999999999999"};
    double ratio = -1;

    (void)state;
    assert_int_equal(kvt_value_ratio("0", &ratio), 0);
    assert_true(ratio == 0.0);
    assert_int_equal(kvt_value_ratio("1", &ratio), 0);
    assert_true(ratio == 1.0);
    assert_int_equal(kvt_value_ratio("1.000", &ratio), 0);
    assert_true(ratio == 1.0);
    assert_int_equal(kvt_value_ratio("0.90", &ratio), 0);
    assert_true(ratio == 0.9);
    assert_int_equal(kvt_value_ratio("0.123456789012345", &ratio), 0);
    assert_true(ratio == 0.123456789012345);
    assert_int_equal(kvt_value_ratio("0.50000000000000000000000", &ratio), 0);
    assert_true(ratio == 0.5);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (kvt_value_ratio(bad[i], &ratio) != -EINVAL) {
            fail_msg("taken: \"%s\"", bad[i]);
        }
    }
    for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++) {
        assert_int_equal(kvt_value_ratio(large[i], &ratio), -ERANGE);
    }
    assert_true(ratio == 0.5);
}

static void percents_go_from_1_to_100(void **state)
{
    double fraction = -1;

    (void)state;
    assert_int_equal(kvt_value_percent("90%", &fraction), 0);
    assert_true(fraction == 0.9);
    assert_int_equal(kvt_value_percent("100%", &fraction), 0);
    assert_true(fraction == 1.0);
    assert_int_equal(kvt_value_percent("0%", &fraction), -ERANGE);
    assert_int_equal(kvt_value_percent("101%", &fraction), -ERANGE);
    assert_int_equal(kvt_value_percent("90", &fraction), -EINVAL);
    assert_int_equal(kvt_value_percent("90%%", &fraction), -EINVAL);
    assert_int_equal(kvt_value_percent("9.5%", &fraction), -EINVAL);
    assert_int_equal(kvt_value_percent("%", &fraction), -EINVAL);
    assert_true(fraction == 1.0);
}

static void bools_have_eight_spellings(void **state)
{
    static const char *const on[] = {"on", "true", "yes", "1"};
    static const char *const off[] = {"off", "false", "no", "0"};
    static const char *const bad[] = {"", "2", "o", "onn", " on", "y", "01"};
    bool value = false;

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        value = false;
        assert_int_equal(kvt_value_bool(on[i], &value), 0);
        assert_true(value);
        assert_int_equal(kvt_value_bool(off[i], &value), 0);
        assert_false(value);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(kvt_value_bool(bad[i], &value), -EINVAL);
    }
}

static void printed_sizes_read_back(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } rows[] = {
        {0, "0"},
        {1, "1"},
        {1000, "1000"},
        {1024, "1KiB"},
        {1536, "1536"},
        {UINT64_C(268435456), "256MiB"},
        {UINT64_C(1) << 30, "1GiB"},
        {UINT64_C(1) << 60, "1EiB"},
        {UINT64_C(15) << 60, "15EiB"},
        {UINT64_MAX, "18446744073709551615"},
    };
    char text[KVT_VALUE_SIZE_TEXT];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t back;

        assert_string_equal(kvt_value_print_size(rows[i].bytes, text),
                            rows[i].text);
        assert_int_equal(kvt_value_size(text, &back), 0);
        assert_true(back == rows[i].bytes);
    }
}

static void ratios_do_not_depend_on_the_locale(void **state)
{
    static const struct kvt_config_row row = {
        .key = "r", .type = KVT_CONFIG_RATIO, .help = "h"};
    static const char *const locales[] = {"de_DE.UTF-8", "fr_FR.UTF-8", ""};
    struct kvt_config_value value;
    struct kvt_config_fault fault;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        setlocale(LC_ALL, locales[i]);
        assert_int_equal(
            kvt_config_value_parse(&row, "0.75000", &value, &fault), 0);
        assert_string_equal(value.text, "0.75");
        assert_true(value.fraction == 0.75);
        kvt_config_value_fini(&value);
    }
    setlocale(LC_ALL, "C");
}

static void expect_text(const struct kvt_config_row *row, const char *text,
                        const char *canonical)
{
    struct kvt_config_value value;
    struct kvt_config_fault fault;
    int rc = kvt_config_value_parse(row, text, &value, &fault);

    if (canonical == NULL) {
        assert_int_not_equal(rc, 0);
        assert_string_not_equal(fault.reason, "");
        assert_null(value.text);
    } else {
        assert_int_equal(rc, 0);
        assert_string_equal(value.text, canonical);
    }
    kvt_config_value_fini(&value);
}

static void ratios_are_printed_without_needless_zeros(void **state)
{
    static const struct kvt_config_row row = {
        .key = "r", .type = KVT_CONFIG_RATIO, .help = "h"};

    (void)state;
    expect_text(&row, "0", "0");
    expect_text(&row, "0.0", "0");
    expect_text(&row, "1", "1");
    expect_text(&row, "1.0", "1");
    expect_text(&row, "0.90", "0.9");
    expect_text(&row, "00.5", "0.5");
    expect_text(&row, "0.999999999999999", "0.999999999999999");
    expect_text(&row, "0.000000000000001", "0.000000000000001");
    expect_text(&row, "0.333333333333333", "0.333333333333333");
}

static void limits_are_sizes_or_shares(void **state)
{
    static const struct kvt_config_row row = {.key = "l",
                                              .type = KVT_CONFIG_LIMIT,
                                              .min = 4096,
                                              .max = KVT_CONFIG_SIZE_MAX,
                                              .help = "h"};

    (void)state;
    expect_text(&row, "4K", "4096");
    expect_text(&row, "1E", "1152921504606846976");
    expect_text(&row, "2E", NULL);
    expect_text(&row, "4095", NULL);
    expect_text(&row, "-1", NULL);
    for (int share = 1; share <= 100; share++) {
        char text[16];

        snprintf(text, sizeof(text), "%d%%", share);
        expect_text(&row, text, text);
    }
    expect_text(&row, "0%", NULL);
    expect_text(&row, "101%", NULL);
    expect_text(&row, "50%x", NULL);
    expect_text(&row, "-5%", NULL);
}

static void relative_paths_become_absolute(void **state)
{
    static const struct kvt_config_row row = {
        .key = "p", .type = KVT_CONFIG_PATH, .max = KVT_CONFIG_PATH_MAX};
    char before[4096];
    char *longest = calloc(1, KVT_CONFIG_PATH_MAX + 2);

    (void)state;
    assert_non_null(longest);
    assert_non_null(getcwd(before, sizeof(before)));
    assert_int_equal(chdir("/usr"), 0);
    expect_text(&row, "/a/b", "/a/b");
    expect_text(&row, "a/b", "/usr/a/b");
    expect_text(&row, "./a", "/usr/a");
    expect_text(&row, ".//./a", "/usr/a");
    expect_text(&row, "../a", "/usr/../a");
    expect_text(&row, ".a", "/usr/.a");
    expect_text(&row, "..", "/usr/..");
    expect_text(&row, ".", "/usr");
    expect_text(&row, "./", "/usr");
    expect_text(&row, "", NULL);
    assert_int_equal(chdir("/"), 0);
    expect_text(&row, ".", "/");
    expect_text(&row, "a", "/a");
    memset(longest, 'x', KVT_CONFIG_PATH_MAX);
    expect_text(&row, longest, NULL); /* too long once it is absolute */
    longest[0] = '/';
    expect_text(&row, longest, longest);
    longest[KVT_CONFIG_PATH_MAX] = 'x';
    expect_text(&row, longest, NULL);
    assert_int_equal(chdir(before), 0);
    free(longest);
}

static void a_directory_that_is_gone_gives_no_relative_path(void **state)
{
    static const struct kvt_config_row row = {
        .key = "p", .type = KVT_CONFIG_PATH, .max = KVT_CONFIG_PATH_MAX};
    struct kvt_config_value value;
    struct kvt_config_fault fault;
    char name[] = "/tmp/kvt-config-XXXXXX";
    char before[4096];

    (void)state;
    assert_non_null(getcwd(before, sizeof(before)));
    assert_non_null(mkdtemp(name));
    assert_int_equal(chdir(name), 0);
    assert_int_equal(rmdir(name), 0);
    assert_int_equal(kvt_config_value_parse(&row, "a", &value, &fault),
                     -ENOENT);
    assert_int_equal(chdir(before), 0);
}

static void distance_counts_edits_and_swaps(void **state)
{
    char text[KVT_SUGGEST_SIZE + 1];

    (void)state;
    assert_int_equal(kvt_edit_distance("", ""), 0);
    assert_int_equal(kvt_edit_distance("", "abc"), 3);
    assert_int_equal(kvt_edit_distance("abc", ""), 3);
    assert_int_equal(kvt_edit_distance("path", "path"), 0);
    assert_int_equal(kvt_edit_distance("pth", "path"), 1);
    assert_int_equal(kvt_edit_distance("ptah", "path"), 1);
    assert_int_equal(kvt_edit_distance("kitten", "sitting"), 3);
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_true(kvt_edit_distance(text, "a") == SIZE_MAX);
    text[KVT_SUGGEST_SIZE - 1] = '\0';
    assert_int_equal(kvt_edit_distance(text, ""), KVT_SUGGEST_SIZE - 1);
}

static void a_name_that_is_far_from_all_gets_no_suggestion(void **state)
{
    struct kvt_suggest suggest;

    (void)state;
    kvt_suggest_init(&suggest, "zzzzzz");
    kvt_suggest_offer(&suggest, "path");
    kvt_suggest_offer(&suggest, "eviction");
    assert_string_equal(suggest.best, "");
    kvt_suggest_init(&suggest, "queue_depth");
    kvt_suggest_offer(&suggest, "path");
    kvt_suggest_offer(&suggest, "uring.queue_depth");
    assert_string_equal(suggest.best, "uring.queue_depth");
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(sizes_take_every_unit),
        cmocka_unit_test(sizes_that_overflow_are_refused),
        cmocka_unit_test(what_is_no_size_is_refused),
        cmocka_unit_test(counts_are_plain_digits),
        cmocka_unit_test(ratios_lie_between_0_and_1),
        cmocka_unit_test(percents_go_from_1_to_100),
        cmocka_unit_test(bools_have_eight_spellings),
        cmocka_unit_test(printed_sizes_read_back),
        cmocka_unit_test(ratios_do_not_depend_on_the_locale),
        cmocka_unit_test(ratios_are_printed_without_needless_zeros),
        cmocka_unit_test(limits_are_sizes_or_shares),
        cmocka_unit_test(relative_paths_become_absolute),
        cmocka_unit_test(a_directory_that_is_gone_gives_no_relative_path),
        cmocka_unit_test(distance_counts_edits_and_swaps),
        cmocka_unit_test(a_name_that_is_far_from_all_gets_no_suggestion),
    };

    return cmocka_run_group_tests(cases, NULL, NULL) != 0;
}
