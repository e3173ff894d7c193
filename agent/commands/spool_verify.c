/* agent/commands/spool_verify.c: reads all of it, checks every checksum, and says what is damaged. */
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>

#include "agent/commands/print.h"
#include "agent/commands/spool.h"

static const struct flag flags[] = {
    SPOOL_PLACE_FLAG,
    { "json", NULL, "one JSON object", 0 },
    { NULL, NULL, NULL, 0 },
};

static unsigned count_state(const struct inspection *inspection, enum inspect_state state) {
    unsigned count = 0;

    for (size_t i = 0; i < inspection->segment_count; i++)
        count += inspection->segments[i].state == state;
    return count;
}

static void print_words(const struct inspection *inspection) {
    unsigned foreign = count_state(inspection, INSPECT_FOREIGN);

    for (size_t i = 0; i < inspection->damaged_count; i++)
        printf("damaged    %020" PRIu64 ".seg  bytes %" PRIu64 " to %" PRIu64 "\n", inspection->damaged[i].number,
               inspection->damaged[i].from, inspection->damaged[i].to);
    if (inspection->lost_records > 0)
        printf("lost       at least %" PRIu64 " records that were acknowledged\n", inspection->lost_records);
    if (inspection->torn_bytes > 0)
        printf("torn       %" PRIu64 " bytes behind the last good frame: as far as can be told a write that was cut off, and not "
               "acknowledged\n", inspection->torn_bytes);
    if (foreign > 0)
        printf("foreign    %u segment%s of another spool or version: not checked\n", foreign, print_plural(foreign));
    if (inspection->without_checkpoint)
        printf("checkpoint none yet, or none that can be read: a start sends all of it\n");
    printf("good       %" PRIu64 " frames with %" PRIu64 " records in %zu segments\n", inspection->frames, inspection->records,
           inspection->segment_count - foreign - count_state(inspection, INSPECT_UNREADABLE));
}

static void print_json(const struct inspection *inspection) {
    cJSON *object = cJSON_CreateObject(), *ranges;
    char *text;

    cJSON_AddBoolToObject(object, "damaged", inspection_is_damaged(inspection));
    cJSON_AddNumberToObject(object, "frames", (double)inspection->frames);
    cJSON_AddNumberToObject(object, "records", (double)inspection->records);
    cJSON_AddNumberToObject(object, "lost_records", (double)inspection->lost_records);
    cJSON_AddNumberToObject(object, "torn_bytes", (double)inspection->torn_bytes);
    cJSON_AddNumberToObject(object, "foreign_segments", count_state(inspection, INSPECT_FOREIGN));
    cJSON_AddBoolToObject(object, "checkpoint", !inspection->without_checkpoint);
    ranges = cJSON_AddArrayToObject(object, "ranges");
    for (size_t i = 0; i < inspection->damaged_count; i++) {
        cJSON *range = cJSON_CreateObject();
        cJSON_AddNumberToObject(range, "segment", (double)inspection->damaged[i].number);
        cJSON_AddNumberToObject(range, "from", (double)inspection->damaged[i].from);
        cJSON_AddNumberToObject(range, "to", (double)inspection->damaged[i].to);
        cJSON_AddItemToArray(ranges, range);
    }
    text = cJSON_PrintUnformatted(object);
    if (text != NULL)
        printf("%s\n", text);
    cJSON_free(text);
    cJSON_Delete(object);
}

static int run(const struct command *self, const struct args *args) {
    struct inspection inspection;
    const char *directory;
    struct agent *agent;
    int code = spool_place(self, args, &agent, &directory);

    if (code != EXIT_FINE)
        return code;
    code = spool_look(self, directory, &inspection);
    if (code == EXIT_FINE) {
        if (args_value(self, args, "json") != NULL)
            print_json(&inspection);
        else
            print_words(&inspection);
        code = inspection_is_damaged(&inspection) ? EXIT_FAILED : EXIT_FINE;
        inspection_release(&inspection);
    }
    agent_free(agent);
    return code;
}

const struct command command_spool_verify = {
    .name = "spool verify",
    .summary = "Read everything, check every checksum, name what is damaged",
    .usage = "[flags]",
    .text = "  heliograf spool verify --directory /mnt/old/spool\n\n"
            "It judges as a start would, which passes damage over, keeps a copy of the bad bytes, and sends the rest.\n"
            "Exit code 0: all is good; 1: something is damaged, or the directory cannot be read.\n",
    .flags = flags,
    .takes_config = true,
    .run = run,
};
