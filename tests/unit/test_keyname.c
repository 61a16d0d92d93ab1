/* Names and directories of keys. The hashes were computed with xxhsum:
 * `printf %s KEY | xxhsum -H64` (directories), -H128 (long names). */
#include "support/unit.h"

#include "format/keyname.h"

#include <string.h>

static struct kvt_key key_of(const char *text)
{
    return (struct kvt_key){text, strlen(text)};
}

static void expect_name(struct kvt_key key, const char *name)
{
    char made[KVT_KEYNAME_MAX + 1];
    unsigned char back[KVT_KEYNAME_MAX];

    assert_true(kvt_keyname_encode(key, KVT_KEYNAME_MAX, made));
    assert_string_equal(made, name);
    assert_int_equal(kvt_keyname_decode(name, back), key.size);
    assert_memory_equal(back, key.data, key.size);
    assert_false(kvt_keyname_is_long(name));
}

static void expect_foreign(const char *name)
{
    unsigned char back[KVT_KEYNAME_MAX];

    if (kvt_keyname_decode(name, back) != 0) {
        fail_msg("taken for ours: %s", name);
    }
}

static void plain_keys_are_their_own_names(void **state)
{
    (void)state;
    expect_name(key_of("a"), "a");
    expect_name(key_of("key-0_1.2"), "key-0_1.2");
    expect_name(key_of(" ~!#$&'()*+,;<=>?[]^`{|}\""),
                " ~!#$&'()*+,;<=>?[]^`{|}\"");
    expect_name(key_of(".hidden"), ".hidden");
    expect_name(key_of("..."), "...");
    expect_name(key_of("a.."), "a..");
}

static void slash_percent_and_dots_are_escaped(void **state)
{
    (void)state;
    expect_name(key_of("."), "%2e");
    expect_name(key_of(".."), "%2e%2e");
    expect_name(key_of("../x"), "..%2fx");
    expect_name(key_of("a/b"), "a%2fb");
    expect_name(key_of("100%"), "100%25");
    expect_name(key_of("%41"), "%2541");
    expect_name(key_of("m@r:l\\x"), "m%40r%3al%5cx");
}

static void any_byte_may_be_in_a_key(void **state)
{
    (void)state;
    expect_name((struct kvt_key){"\0", 1}, "%00");
    expect_name((struct kvt_key){"a\0b\n\x7f\xff", 6}, "a%00b%0a%7f%ff");
    expect_name(key_of("h\xc3\xa9"), "h%c3%a9");
    expect_name(key_of("\x1f "), "%1f ");
}

static void every_single_byte_round_trips(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        unsigned char bytes[2] = {(unsigned char)byte, 'x'};
        char name[KVT_KEYNAME_MAX + 1];

        for (size_t size = 1; size <= 2; size++) {
            assert_true(kvt_keyname_encode((struct kvt_key){bytes, size},
                                           KVT_KEYNAME_MAX, name));
            expect_name((struct kvt_key){bytes, size}, name);
            assert_null(strpbrk(name, "/@:\\"));
            assert_true(strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
        }
    }
}

/* Short keys of the bytes that matter, so that pairs are often near. */
static struct kvt_key random_key(uint64_t *seed, unsigned char bytes[8])
{
    static const char letters[] = "%.2e5/fl\0A\xff";
    size_t size = 1 + unit_random_below(seed, 6);

    for (size_t i = 0; i < size; i++) {
        bytes[i] =
            (unsigned char)letters[unit_random_below(seed, sizeof letters - 1)];
    }
    return (struct kvt_key){bytes, size};
}

static void different_keys_have_different_names(void **state)
{
    uint64_t seed = 1;

    (void)state;
    for (int i = 0; i < 50000; i++) {
        unsigned char bytes[2][8];
        char names[2][KVT_KEYNAME_MAX + 1];
        struct kvt_key a = random_key(&seed, bytes[0]);
        struct kvt_key b = random_key(&seed, bytes[1]);
        int same = a.size == b.size && memcmp(a.data, b.data, a.size) == 0;

        assert_true(kvt_keyname_encode(a, 64, names[0]));
        assert_true(kvt_keyname_encode(b, 64, names[1]));
        assert_int_equal(strcmp(names[0], names[1]) == 0, same);
        expect_name(a, names[0]);
    }
}

/* What reads back as a key is written as that same name. */
static void no_two_names_read_as_one_key(void **state)
{
    uint64_t seed = 2;

    (void)state;
    for (int i = 0; i < 50000; i++) {
        char name[8];
        unsigned char bytes[KVT_KEYNAME_MAX];
        struct kvt_key text = random_key(&seed, (unsigned char *)name);

        name[text.size] = '\0';
        size_t size = kvt_keyname_decode(name, bytes);
        if (size > 0) {
            expect_name((struct kvt_key){bytes, size}, name);
        }
    }
}

static void a_name_of_255_bytes_is_the_longest(void **state)
{
    char text[257];
    char name[KVT_KEYNAME_MAX + 1];

    (void)state;
    memset(text, 'a', sizeof text);
    text[255] = '\0';
    expect_name(key_of(text), text);
    assert_false(
        kvt_keyname_encode((struct kvt_key){text, 256}, KVT_KEYNAME_MAX, name));
    text[255] = 'a';
    assert_false(
        kvt_keyname_encode((struct kvt_key){text, 256}, KVT_KEYNAME_MAX, name));
    assert_string_equal(name, "%long-81730296e694d87f3fdb4ff1846c90f3");
    assert_true(kvt_keyname_is_long(name));
    expect_foreign(name);
}

static void escapes_count_as_three_bytes(void **state)
{
    char slashes[86];
    char name[KVT_KEYNAME_MAX + 1];

    (void)state;
    memset(slashes, '/', sizeof slashes);
    assert_true(kvt_keyname_encode((struct kvt_key){slashes, 85},
                                   KVT_KEYNAME_MAX, name));
    assert_int_equal(strlen(name), 255);
    expect_name((struct kvt_key){slashes, 85}, name);
    assert_false(kvt_keyname_encode((struct kvt_key){slashes, 86},
                                    KVT_KEYNAME_MAX, name));
    assert_string_equal(name, "%long-751af2c13f3f14e629b6d1d257c3e7d0");
}

static void a_short_limit_makes_long_names_sooner(void **state)
{
    char text[65];
    char slashes[22];
    char name[KVT_KEYNAME_MAX + 1];

    (void)state;
    memset(text, 'x', sizeof text);
    memset(slashes, '/', sizeof slashes);
    assert_true(kvt_keyname_encode((struct kvt_key){text, 64}, 64, name));
    assert_int_equal(strlen(name), 64);
    assert_false(kvt_keyname_encode((struct kvt_key){text, 65}, 64, name));
    assert_string_equal(name, "%long-fe55772baf900dc819228ac7c2afb5d4");
    assert_true(kvt_keyname_encode((struct kvt_key){slashes, 21}, 64, name));
    assert_int_equal(strlen(name), 63);
    assert_false(kvt_keyname_encode((struct kvt_key){slashes, 22}, 64, name));
    assert_string_equal(name, "%long-b0aaf3ace8f5e6424058ad6929ed27cd");
}

static void the_longest_key_has_a_name(void **state)
{
    char text[KVT_KEY_SIZE_MAX];
    char name[KVT_KEYNAME_MAX + 1];

    (void)state;
    memset(text, 'k', sizeof text);
    assert_false(kvt_keyname_encode((struct kvt_key){text, sizeof text},
                                    KVT_KEYNAME_MAX, name));
    assert_string_equal(name, "%long-49a46bdec6f0ab3df14c78536cd0075e");
}

/* A key that looks like a long name is escaped, and so none. */
static void a_key_cannot_pose_as_a_long_name(void **state)
{
    (void)state;
    expect_name(key_of("%long-81730296e694d87f3fdb4ff1846c90f3"),
                "%25long-81730296e694d87f3fdb4ff1846c90f3");
}

static void names_of_others_are_refused(void **state)
{
    static const char *const foreign[] = {
        "",          "%",    "a%",   "a%2",  "%2",   "%zz", "%2g",
        "%g2",       "%2F",  "%2E",  "%C3",  "%41",  "%20", "a%2eb",
        "%2e%2e%2e", "%2e.", ".%2e", ".",    "..",   "a:b", "a@b",
        "a\\b",      "a/b",  "\x01", "\x7f", "\xc3", "%%",  "%long-",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(foreign); i++) {
        expect_foreign(foreign[i]);
    }
}

static void names_that_are_too_long_are_refused(void **state)
{
    char name[400];

    (void)state;
    memset(name, 'a', sizeof name);
    for (size_t size = 256; size < sizeof name; size++) {
        name[size] = '\0';
        expect_foreign(name);
        name[size] = 'a';
    }
    /* 86 escapes are 86 bytes, but no name that we write */
    for (size_t i = 0; i < 86; i++) {
        strcpy(name + 3 * i, "%2f");
    }
    expect_foreign(name);
}

static void long_names_are_exactly_of_their_form(void **state)
{
    (void)state;
    assert_true(kvt_keyname_is_long("%long-0123456789abcdef0123456789abcdef"));
    assert_false(kvt_keyname_is_long("%long-0123456789abcdef0123456789abcde"));
    assert_false(
        kvt_keyname_is_long("%long-0123456789abcdef0123456789abcdef0"));
    assert_false(kvt_keyname_is_long("%long-0123456789ABCDEF0123456789abcdef"));
    assert_false(kvt_keyname_is_long("%Long-0123456789abcdef0123456789abcdef"));
    assert_false(kvt_keyname_is_long("xlong-0123456789abcdef0123456789abcdef"));
    assert_false(kvt_keyname_is_long(""));
}

static void directories_are_those_of_xxh64(void **state)
{
    char text[KVT_KEY_SIZE_MAX];

    (void)state;
    assert_int_equal(kvt_keyname_directory(key_of("a"), 256), 91);
    assert_int_equal(kvt_keyname_directory(key_of("key-0"), 256), 115);
    assert_int_equal(kvt_keyname_directory(key_of("model/layer@7:block"), 256),
                     46);
    assert_int_equal(kvt_keyname_directory(key_of(".."), 256), 111);
    assert_int_equal(kvt_keyname_directory((struct kvt_key){"key\0with\xff"
                                                            "bytes",
                                                            14},
                                           256),
                     39);
    assert_int_equal(kvt_keyname_directory(key_of("a"), 4096), 3675);
    assert_int_equal(kvt_keyname_directory(key_of("a"), 1000), 955);
    assert_int_equal(kvt_keyname_directory(key_of("a"), 1), 0);
    memset(text, 'k', sizeof text);
    assert_int_equal(
        kvt_keyname_directory((struct kvt_key){text, sizeof text}, 256), 230);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_keys_are_their_own_names),
        cmocka_unit_test(slash_percent_and_dots_are_escaped),
        cmocka_unit_test(any_byte_may_be_in_a_key),
        cmocka_unit_test(every_single_byte_round_trips),
        cmocka_unit_test(different_keys_have_different_names),
        cmocka_unit_test(no_two_names_read_as_one_key),
        cmocka_unit_test(a_name_of_255_bytes_is_the_longest),
        cmocka_unit_test(escapes_count_as_three_bytes),
        cmocka_unit_test(a_short_limit_makes_long_names_sooner),
        cmocka_unit_test(the_longest_key_has_a_name),
        cmocka_unit_test(a_key_cannot_pose_as_a_long_name),
        cmocka_unit_test(names_of_others_are_refused),
        cmocka_unit_test(names_that_are_too_long_are_refused),
        cmocka_unit_test(long_names_are_exactly_of_their_form),
        cmocka_unit_test(directories_are_those_of_xxh64),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
