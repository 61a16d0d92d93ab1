/*
 * trace_line.h - one request of a trace: a line of JSON.
 *
 *   {"timestamp": 27482, "input_length": 6955, "output_length": 52,
 *    "hash_ids": [46, 47, 48, 2353, 2354]}
 *
 * A reader of its own, not cJSON: ids are often 64-bit hashes, which do not
 * fit into a double.
 */
#ifndef CLI_TRACE_LINE_H
#define CLI_TRACE_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cli_trace_request {
    bool has_timestamp;
    double timestamp_ms;
    uint64_t *ids; /* of the blocks, in their order */
    size_t id_count;
    size_t id_room;
};

/* Reads a line into `request`, whose memory is reused (start from zeros, end
 * with cli_trace_request_free). Returns null, or what is wrong with the line:
 * a constant text. Other members of the object are skipped. */
const char *cli_trace_parse(const char *line, size_t size,
                            struct cli_trace_request *request);
void cli_trace_request_free(struct cli_trace_request *request);

#endif
