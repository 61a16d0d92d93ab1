/* Keys as text and hex, and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../cli/keytext.c"

#include <string.h>

static void expect_text(const void *key, size_t size, bool hex,
                        const char *wanted)
{
    char *text = cli_key_text(key, size, hex);
    assert_non_null(text);
    assert_string_equal(text, wanted);
    free(text);
}

static void expect_fault(const char *text, bool hex, size_t at)
{
    unsigned char key[64];
    size_t size;
    const char *fault = cli_key_parse(text, hex, key, &size);
    assert_ptr_equal(fault, text + at);
}

static void printable_bytes_stand_for_themselves(void **state)
{
    (void)state;
    expect_text("model/layer:0~!", 15, false, "model/layer:0~!");
}

static void other_bytes_and_percent_are_escaped(void **state)
{
    (void)state;
    expect_text("a b%\n\0\x7f\xff", 8, false, "a%20b%25%0a%00%7f%ff");
    expect_text("", 0, false, "");
}

static void hex_has_two_digits_a_byte(void **state)
{
    (void)state;
    expect_text("\x00\x0fz\xff", 4, true, "000f7aff");
}

static void every_byte_round_trips_in_both_forms(void **state)
{
    (void)state;
    unsigned char key[256];
    unsigned char back[1024];
    size_t size;
    for (size_t i = 0; i < sizeof(key); i++) {
        key[i] = (unsigned char)i;
    }
    for (int hex = 0; hex < 2; hex++) {
        char *text = cli_key_text(key, sizeof(key), hex);
        assert_null(cli_key_parse(text, hex, back, &size));
        assert_int_equal(size, sizeof(key));
        assert_memory_equal(back, key, sizeof(key));
        free(text);
    }
}

static void digits_of_either_case_are_read(void **state)
{
    (void)state;
    unsigned char key[8];
    size_t size;
    assert_null(cli_key_parse("%aB%Cd", false, key, &size));
    assert_int_equal(size, 2);
    assert_memory_equal(key, "\xab\xcd", 2);
}

static void raw_bytes_in_text_stand_for_themselves(void **state)
{
    (void)state;
    unsigned char key[8];
    size_t size;
    assert_null(cli_key_parse("a b\xc3\xa9", false, key, &size));
    assert_int_equal(size, 5);
    assert_memory_equal(key, "a b\xc3\xa9", 5);
}

static void a_bad_escape_is_pointed_at(void **state)
{
    (void)state;
    expect_fault("ok%zz", false, 2);
    expect_fault("ok%2", false, 2);
    expect_fault("ok%", false, 2);
    expect_fault("%2g%20", false, 0);
    expect_fault("%%20", false, 0);
}

static void bad_hex_is_pointed_at(void **state)
{
    (void)state;
    expect_fault("00xx", true, 2);
    expect_fault("0x", true, 1);
    expect_fault("abc", true, 3);
    expect_fault("%20", true, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(printable_bytes_stand_for_themselves),
        cmocka_unit_test(other_bytes_and_percent_are_escaped),
        cmocka_unit_test(hex_has_two_digits_a_byte),
        cmocka_unit_test(every_byte_round_trips_in_both_forms),
        cmocka_unit_test(digits_of_either_case_are_read),
        cmocka_unit_test(raw_bytes_in_text_stand_for_themselves),
        cmocka_unit_test(a_bad_escape_is_pointed_at),
        cmocka_unit_test(bad_hex_is_pointed_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
