/* agent/commands/spool_list.c: the segments, oldest first. */
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>

#include "agent/commands/print.h"
#include "agent/commands/spool.h"

static const struct flag flags[] = {
    SPOOL_PLACE_FLAG,
    { "json", NULL, "one JSON object per segment and line", 0 },
    { NULL, NULL, NULL, 0 },
};

static uint64_t damaged_in(const struct inspection *inspection, uint64_t number) {
    uint64_t bytes = 0;

    for (size_t i = 0; i < inspection->damaged_count; i++)
        if (inspection->damaged[i].number == number)
            bytes += inspection->damaged[i].to - inspection->damaged[i].from;
    return bytes;
}

/* The one that an agent writes to has the highest number. */
static const char *state_of(const struct inspection *inspection, size_t index) {
    const struct inspect_segment *segment = &inspection->segments[index];

    if (inspection->in_use && index + 1 == inspection->segment_count && segment->state <= INSPECT_SETTLED)
        return "open";
    return spool_state_name(segment->state);
}

static void print_words(const struct inspection *inspection, size_t index) {
    const struct inspect_segment *segment = &inspection->segments[index];
    char size[PRINT_TIME_MAX], from[PRINT_TIME_MAX], to[PRINT_TIME_MAX];
    uint64_t damaged = damaged_in(inspection, segment->number);

    printf("%020" PRIu64 "  %-10s  %10s  ", segment->number, state_of(inspection, index), print_size(size, segment->file_bytes));
    if (segment->records > 0)
        printf("%8" PRIu64 " records  %" PRIu64 "-%" PRIu64 "  %s - %s  ", segment->records, segment->first_sequence,
               segment->last_sequence, print_time(from, segment->oldest_ns, false), print_time(to, segment->newest_ns, false));
    else
        printf("%8d records  ", 0);
    printf("generation %016" PRIx64, segment->generation);
    if (segment->thinned > 0)
        printf("  every %" PRIu64 ". point", UINT64_C(1) << (segment->thinned < 63 ? segment->thinned : 63));
    if (segment->state == INSPECT_FOREIGN && segment->version != FORMAT_VERSION)
        printf("  version %u", segment->version);
    if (damaged > 0)
        printf("  %" PRIu64 " bytes damaged", damaged);
    for (unsigned i = 0; i < inspection->output_count; i++)
        if (segment->pending_outputs >> i & 1)
            printf("  %s", inspection->outputs[i].name);
    putchar('\n');
}

static void add_time(cJSON *object, const char *key, const struct inspect_segment *segment, int64_t time_ns) {
    char text[PRINT_TIME_MAX];

    if (segment->records > 0)
        cJSON_AddStringToObject(object, key, print_time(text, time_ns, true));
    else
        cJSON_AddNullToObject(object, key);
}

static void print_json(const struct inspection *inspection, size_t index) {
    const struct inspect_segment *segment = &inspection->segments[index];
    cJSON *object = cJSON_CreateObject(), *outputs;
    char generation[24], *text;

    snprintf(generation, sizeof generation, "%016" PRIx64, segment->generation);
    cJSON_AddNumberToObject(object, "number", (double)segment->number);
    cJSON_AddStringToObject(object, "state", state_of(inspection, index));
    cJSON_AddStringToObject(object, "generation", generation);
    cJSON_AddNumberToObject(object, "version", segment->version);
    cJSON_AddNumberToObject(object, "bytes", (double)segment->file_bytes);
    cJSON_AddNumberToObject(object, "damaged_bytes", (double)damaged_in(inspection, segment->number));
    cJSON_AddNumberToObject(object, "frames", (double)segment->frames);
    cJSON_AddNumberToObject(object, "records", (double)segment->records);
    cJSON_AddNumberToObject(object, "first_sequence", (double)segment->first_sequence);
    cJSON_AddNumberToObject(object, "last_sequence", (double)segment->last_sequence);
    add_time(object, "oldest", segment, segment->oldest_ns);
    add_time(object, "newest", segment, segment->newest_ns);
    cJSON_AddNumberToObject(object, "thinned", segment->thinned);
    outputs = cJSON_AddArrayToObject(object, "pending_outputs");
    for (unsigned i = 0; i < inspection->output_count; i++)
        if (segment->pending_outputs >> i & 1)
            cJSON_AddItemToArray(outputs, cJSON_CreateString(inspection->outputs[i].name));
    text = cJSON_PrintUnformatted(object);
    if (text != NULL)
        printf("%s\n", text);
    cJSON_free(text);
    cJSON_Delete(object);
}

static int run(const struct command *self, const struct args *args) {
    bool json = args_value(self, args, "json") != NULL;
    struct inspection inspection;
    const char *directory;
    struct agent *agent;
    int code = spool_place(self, args, &agent, &directory);

    if (code != EXIT_FINE)
        return code;
    code = spool_look(self, directory, &inspection);
    for (size_t i = 0; code == EXIT_FINE && i < inspection.segment_count && ferror(stdout) == 0; i++) {
        if (json)
            print_json(&inspection, i);
        else
            print_words(&inspection, i);
    }
    if (code == EXIT_FINE)
        inspection_release(&inspection);
    agent_free(agent);
    return code;
}

const struct command command_spool_list = {
    .name = "spool list",
    .summary = "The segments: number, state, size, records, sequences, times, generation, for whom",
    .usage = "[flags]",
    .text = "  heliograf spool list --config heliograf.yaml\n\n"
            "States: pending (something in it waits, and for whom), settled (nothing does), open (the agent writes to\n"
            "it), foreign (of another spool or version: left alone), unreadable. Times are of the messages' arrival.\n",
    .flags = flags,
    .takes_config = true,
    .run = run,
};
