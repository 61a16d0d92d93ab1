/* The trace: its lines, and what stands on them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../cli/trace_line.c"
#include "../../cli/trace_reader.c"

#include <fcntl.h>
#include <stdio.h>

static struct cli_trace_request request;

static const char *parse(const char *line)
{
    return cli_trace_parse(line, strlen(line), &request);
}

static int forget(void **state)
{
    (void)state;
    cli_trace_request_free(&request);
    return 0;
}

/* A reader of a pipe that holds `text` and then ends. */
static void reader_of(struct cli_trace_reader *reader, const char *text)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], text, strlen(text)), strlen(text));
    close(ends[1]);
    *reader = (struct cli_trace_reader){.fd = ends[0]};
}

static void reader_end(struct cli_trace_reader *reader)
{
    close(reader->fd);
    cli_trace_reader_free(reader);
}

static void expect_line(struct cli_trace_reader *reader, const char *wanted,
                        uint64_t number)
{
    const char *line;
    size_t size;
    assert_int_equal(cli_trace_read(reader, &line, &size), 1);
    assert_int_equal(size, strlen(wanted));
    assert_memory_equal(line, wanted, size);
    assert_int_equal(reader->line_number, number);
}

static void expect_end(struct cli_trace_reader *reader)
{
    const char *line;
    size_t size;
    assert_int_equal(cli_trace_read(reader, &line, &size), 0);
}

static void a_line_of_the_public_traces_is_read(void **state)
{
    (void)state;
    assert_null(parse("{\"timestamp\": 27482, \"input_length\": 6955, "
                      "\"output_length\": 52, \"hash_ids\": [46, 47, 2353]}"));
    assert_true(request.has_timestamp);
    assert_true(request.timestamp_ms == 27482.0);
    assert_int_equal(request.id_count, 3);
    assert_int_equal(request.ids[0], 46);
    assert_int_equal(request.ids[2], 2353);
}

static void a_request_forgets_the_one_before(void **state)
{
    (void)state;
    assert_null(parse("{\"timestamp\":5,\"hash_ids\":[1,2,3]}"));
    assert_null(parse("{\"hash_ids\":[]}"));
    assert_false(request.has_timestamp);
    assert_int_equal(request.id_count, 0);
}

static void ids_of_64_bits_are_exact(void **state)
{
    (void)state;
    assert_null(parse("{\"hash_ids\":[18446744073709551615,"
                      "9007199254740993,0]}"));
    assert_true(request.ids[0] == UINT64_MAX);
    assert_true(request.ids[1] == UINT64_C(9007199254740993));
    assert_true(request.ids[2] == 0);
}

static void many_ids_are_read(void **state)
{
    (void)state;
    static char line[100000];
    size_t at = (size_t)snprintf(line, sizeof(line), "{\"hash_ids\":[0");
    for (int i = 1; i < 5000; i++) {
        at += (size_t)snprintf(line + at, sizeof(line) - at, ", %d", i);
    }
    snprintf(line + at, sizeof(line) - at, "]}");
    assert_null(parse(line));
    assert_int_equal(request.id_count, 5000);
    assert_int_equal(request.ids[4999], 4999);
}

static void other_members_are_skipped(void **state)
{
    (void)state;
    assert_null(parse(" { \"a\" : {\"b\":[1,-2.5e+3,{}],\"c\":\"]}\\\"\"} , "
                      "\"hash_ids\" : [ 7 ] , \"d\":null,\"e\":true,"
                      "\"f\":[[],[false]] } \r"));
    assert_int_equal(request.id_count, 1);
    assert_int_equal(request.ids[0], 7);
}

static void what_is_not_an_object_is_broken(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "",
        "x",
        "[]",
        "{",
        "{\"hash_ids\":[1]",
        "{\"hash_ids\":[1],}",
        "{\"hash_ids\":[1]}}",
        "{\"hash_ids\":[1]} {}",
        "{hash_ids:[1]}",
        "{\"a\":01,\"hash_ids\":[1]}",
        "{\"a\":tru,\"hash_ids\":[1]}",
        "{\"a\":\"\n\",\"hash_ids\":[1]}",
        "{\"a\":\"\\",
        "{\"a\" \"b\",\"hash_ids\":[1]}",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        assert_non_null(parse(lines[i]));
    }
}

static void ids_that_are_no_block_numbers_are_broken(void **state)
{
    (void)state;
    static const char *const ids[] = {
        "null", "1",      "\"1\"",  "[-1]", "[1.5]", "[1e3]",
        "[01]", "[\"\"]", "[1 2]",  "[1,]", "[,1]",  "[18446744073709551616]",
        "{}",   "[[1]]",  "[true]", "[1",
    };
    char line[80];
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        snprintf(line, sizeof(line), "{\"hash_ids\":%s}", ids[i]);
        assert_non_null(parse(line));
    }
    assert_string_equal(parse("{\"timestamp\":1}"), "hash_ids is missing");
}

static void times_and_lengths_must_be_numbers(void **state)
{
    (void)state;
    assert_non_null(parse("{\"timestamp\":\"1\",\"hash_ids\":[]}"));
    assert_non_null(parse("{\"timestamp\":-1,\"hash_ids\":[]}"));
    assert_non_null(parse("{\"input_length\":null,\"hash_ids\":[]}"));
    assert_non_null(parse("{\"output_length\":[],\"hash_ids\":[]}"));
    assert_null(parse("{\"timestamp\":1.5e3,\"hash_ids\":[]}"));
    assert_true(request.timestamp_ms == 1500.0);
}

static void deep_nesting_is_refused(void **state)
{
    (void)state;
    static char line[200100];
    memcpy(line, "{\"a\":", 5);
    memset(line + 5, '[', 200000);
    assert_non_null(parse(line));
}

static void bytes_behind_the_size_are_not_read(void **state)
{
    (void)state;
    const char *line = "{\"hash_ids\":[12]}";
    for (size_t size = 0; size < strlen(line); size++) {
        char *copy = malloc(size + 1);
        memcpy(copy, line, size);
        assert_non_null(cli_trace_parse(copy, size, &request));
        free(copy);
    }
}

static void lines_are_numbered_and_blank_ones_skipped(void **state)
{
    (void)state;
    struct cli_trace_reader reader;
    reader_of(&reader, "one\n\n \t\r\ntwo\n");
    expect_line(&reader, "one", 1);
    expect_line(&reader, "two", 4);
    expect_end(&reader);
    expect_end(&reader);
    reader_end(&reader);
}

static void the_last_line_needs_no_newline(void **state)
{
    (void)state;
    struct cli_trace_reader reader;
    reader_of(&reader, "one\ntwo");
    expect_line(&reader, "one", 1);
    expect_line(&reader, "two", 2);
    expect_end(&reader);
    reader_end(&reader);
}

static void an_empty_trace_has_no_lines(void **state)
{
    (void)state;
    struct cli_trace_reader reader;
    reader_of(&reader, "");
    expect_end(&reader);
    reader_end(&reader);
}

static void a_line_may_be_longer_than_any_buffer(void **state)
{
    (void)state;
    enum {
        LONG = 1000000
    };
    FILE *file = tmpfile();
    assert_non_null(file);
    for (int i = 0; i < LONG; i++) {
        fputc('a' + i % 26, file);
    }
    fputs("\nend\n", file);
    fflush(file);
    rewind(file);
    struct cli_trace_reader reader = {.fd = fileno(file)};
    const char *line;
    size_t size;
    assert_int_equal(cli_trace_read(&reader, &line, &size), 1);
    assert_int_equal(size, LONG);
    for (int i = 0; i < LONG; i++) {
        assert_true(line[i] == 'a' + i % 26);
    }
    expect_line(&reader, "end", 2);
    expect_end(&reader);
    cli_trace_reader_free(&reader);
    fclose(file);
}

static bool always(void)
{
    return true;
}

static void a_stop_ends_the_wait_for_a_pipe(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    struct cli_trace_reader reader = {.fd = ends[0], .stopped = always};
    expect_end(&reader);
    close(ends[1]);
    reader_end(&reader);
}

static void a_failed_read_is_an_errno(void **state)
{
    (void)state;
    const char *line;
    size_t size;
    struct cli_trace_reader reader = {.fd = -1};
    reader.fd = open("/", O_RDONLY);
    assert_int_equal(cli_trace_read(&reader, &line, &size), -EISDIR);
    reader_end(&reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_of_the_public_traces_is_read),
        cmocka_unit_test(a_request_forgets_the_one_before),
        cmocka_unit_test(ids_of_64_bits_are_exact),
        cmocka_unit_test(many_ids_are_read),
        cmocka_unit_test(other_members_are_skipped),
        cmocka_unit_test(what_is_not_an_object_is_broken),
        cmocka_unit_test(ids_that_are_no_block_numbers_are_broken),
        cmocka_unit_test(times_and_lengths_must_be_numbers),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(bytes_behind_the_size_are_not_read),
        cmocka_unit_test(lines_are_numbered_and_blank_ones_skipped),
        cmocka_unit_test(the_last_line_needs_no_newline),
        cmocka_unit_test(an_empty_trace_has_no_lines),
        cmocka_unit_test(a_line_may_be_longer_than_any_buffer),
        cmocka_unit_test(a_stop_ends_the_wait_for_a_pipe),
        cmocka_unit_test(a_failed_read_is_an_errno),
    };
    return cmocka_run_group_tests(tests, NULL, forget) != 0;
}
