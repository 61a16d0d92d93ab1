#include "report.h"

#include <inttypes.h>

static const char *const cache_names[] = {"-", "warm", "cold", "direct"};

static const char *other_name(const struct bench *bench)
{
    if (bench->against != NULL) {
        return "command";
    }
    return bench->row->other != NULL ? bench->row->other_name : "";
}

static double median(double *values, size_t count)
{
    return spread_of(values, count).median;
}

/* The table --------------------------------------------------------------- */

void report_head(void)
{
    printf("%-34s ratio [95 %% bounds]     ours      other  "
           "   (above 1: ours is faster)\n",
           "row");
}

static void print_calls(const struct figures *figures)
{
    if (figures->ours_calls >= 0) {
        printf("  calls %.2f", figures->ours_calls);
    }
    if (figures->other_calls >= 0) {
        printf(" %.2f", figures->other_calls);
    }
}

/* Where nothing else proves that a command does the same work. */
static void print_seen(const struct bench *bench, const struct figures *figures)
{
    const struct bench_result *sum = &figures->other_sum;
    double share = (double)sum->seen_bytes / (double)sum->bytes;
    if (bench->against != NULL && share < 0.98) {
        printf("  the command's calls moved only %.0f %% of the bytes",
               share * 100);
    }
}

void report_row(const struct bench *bench, struct figures *figures)
{
    printf("%-34s ", bench->row->name);
    if (bench->reason[0] != '\0') {
        printf("not taken: %s\n", bench->reason);
        return;
    }
    size_t count = figures->count;
    double ours = median(figures->ours, count);
    if (other_name(bench)[0] == '\0') {
        printf("%.1f ns each\n", 1e9 / ours);
        return;
    }
    struct spread ratio = spread_of(figures->ratios, count);
    char bounds[32] = "[six pairs?]";
    if (ratio.bounded) {
        snprintf(bounds, sizeof bounds, "[%.2f..%.2f]", ratio.low, ratio.high);
    }
    if (bench->row->unit != NULL) {
        printf("%5.3f  %10.0f %10.0f %s\n", ratio.median, ours,
               median(figures->other, count), bench->row->unit);
        return;
    }
    printf("%5.2f %s  %10.0f %10.0f /s  cpu %.2f %.2f us", ratio.median, bounds,
           ours, median(figures->other, count),
           median(figures->ours_cpu, count) * 1e6,
           median(figures->other_cpu, count) * 1e6);
    print_calls(figures);
    print_seen(bench, figures);
    printf("\n");
    fflush(stdout);
}

/* The CSV ----------------------------------------------------------------- */

FILE *report_open(const char *path)
{
    FILE *csv = fopen(path, "w");
    if (csv == NULL) {
        perror(path);
        return NULL;
    }
    fprintf(csv,
            "row,fs,cache,size,depth,batch,other_threads,other,pairs,"
            "left_out,ours_ops_s,other_ops_s,ours_mib_s,other_mib_s,ratio_low,"
            "ratio_median,ratio_high,ours_cpu_us,other_cpu_us,"
            "ours_calls,other_calls,ours_in_flight,other_in_flight,"
            "in_flight_max,operations,bytes,ours_device_bytes,"
            "other_device_bytes,other_seen_bytes,submissions,transfers,bytes_"
            "copied,"
            "other_command,not_taken\n");
    return csv;
}

/* A quoted field: one line, whatever a program said. */
static void print_text(FILE *csv, const char *text)
{
    fputc('"', csv);
    for (; *text != '\0'; text++) {
        if (*text == '"') {
            fputc('"', csv);
        }
        fputc(*text == '\n' ? ' ' : *text, csv);
    }
    fputc('"', csv);
}

/* A number, or nothing where there is none. */
static void print_number(FILE *csv, bool known, double number)
{
    if (known) {
        fprintf(csv, "%.3f", number);
    }
    fputc(',', csv);
}

static void print_in_flight(FILE *csv, const struct bench_result *sum)
{
    bool known = sum->in_flight_looks > 0;
    print_number(
        csv, known,
        known ? (double)sum->in_flight_sum / (double)sum->in_flight_looks : 0);
}

void report_csv(FILE *csv, const struct bench *bench, struct figures *figures)
{
    const struct bench_row *row = bench->row;
    size_t count = figures->count;
    struct spread ratio = spread_of(figures->ratios, count);
    double ours = median(figures->ours, count);
    double other = median(figures->other, count);
    double size = (double)row->size / (1 << 20);
    bool paired = other_name(bench)[0] != '\0' && count > 0;
    fprintf(
        csv, "%s,%s,%s,%" PRIu64 ",%u,%s,%u,%s,%zu,%zu,%.1f,%.1f,%.2f,%.2f,",
        row->name, bench->fs, cache_names[row->cache], row->size, row->depth,
        row->batch ? "yes" : "no", row->other_threads, other_name(bench), count,
        figures->misplaced, ours, other, ours * size, other * size);
    print_number(csv, paired && ratio.bounded, ratio.low);
    print_number(csv, paired, ratio.median);
    print_number(csv, paired && ratio.bounded, ratio.high);
    print_number(csv, count > 0, median(figures->ours_cpu, count) * 1e6);
    print_number(csv, paired, median(figures->other_cpu, count) * 1e6);
    print_number(csv, figures->ours_calls >= 0, figures->ours_calls);
    print_number(csv, figures->other_calls >= 0, figures->other_calls);
    print_in_flight(csv, &figures->ours_sum);
    print_in_flight(csv, &figures->other_sum);
    fprintf(csv, "%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",",
            figures->counters.in_flight_max, figures->ours_sum.operations,
            figures->ours_sum.bytes, figures->ours_sum.device_bytes,
            figures->other_sum.device_bytes);
    if (bench->against != NULL && count > 0) {
        fprintf(csv, "%" PRIu64, figures->other_sum.seen_bytes);
    }
    fprintf(csv, ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",",
            figures->counters.submissions, figures->counters.transfers,
            figures->counters.bytes_copied);
    print_text(csv, bench->other_command);
    fputc(',', csv);
    print_text(csv, bench->reason);
    fputc('\n', csv);
    fflush(csv);
}
