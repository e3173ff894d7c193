/* agent/commands/spool_status.c: what waits, for whom, since when, and whether all of it can be read. */
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>

#include "agent/base/clock.h"
#include "agent/commands/print.h"
#include "agent/commands/spool.h"

static const struct flag flags[] = {
    SPOOL_PLACE_FLAG,
    { "json", NULL, "one JSON object", 0 },
    { NULL, NULL, NULL, 0 },
};

static uint64_t damaged_bytes(const struct inspection *inspection) {
    uint64_t bytes = 0;

    for (size_t i = 0; i < inspection->damaged_count; i++)
        bytes += inspection->damaged[i].to - inspection->damaged[i].from;
    return bytes;
}

static void print_output(const struct inspect_output *output) {
    char size[PRINT_TIME_MAX], when[PRINT_TIME_MAX], age[PRINT_TIME_MAX];

    printf("%-10s %s: ", "output", output->name);
    if (output->messages == 0)
        printf("nothing waits\n");
    else
        printf("%" PRIu64 " message%s wait%s, %" PRIu64 " line%s, %s; the oldest since %s (%s)\n", output->messages,
               print_plural(output->messages), output->messages == 1 ? "s" : "", output->lines, print_plural(output->lines),
               print_size(size, output->bytes), print_time(when, output->oldest_ns, false),
               print_age(age, clock_real_ns() - output->oldest_ns));
}

static void print_damage(const struct inspection *inspection) {
    if (!inspection_is_damaged(inspection)) {
        printf("%-10s none\n", "damage");
        return;
    }
    printf("%-10s %" PRIu64 " bytes in %zu place%s, at least %" PRIu64 " record%s lost; `heliograf spool verify` says where\n", "damage",
           damaged_bytes(inspection), inspection->damaged_count, print_plural(inspection->damaged_count), inspection->lost_records,
           print_plural(inspection->lost_records));
}

static void print_words(const struct inspection *inspection, const char *directory) {
    char size[PRINT_TIME_MAX];

    printf("%-10s %s\n", "directory", directory);
    printf("%-10s %s\n", "agent",
           inspection->in_use ? "running; what waits is as of its last checkpoint, a second old at most" : "not running");
    printf("%-10s %zu segment%s, %s\n", "on disk", inspection->segment_count, print_plural(inspection->segment_count),
           print_size(size, inspection->bytes));
    print_damage(inspection);
    if (inspection->without_checkpoint)
        printf("%-10s none yet, or none that can be read: all that is there counts as waiting\n", "checkpoint");
    for (unsigned i = 0; i < inspection->output_count; i++)
        print_output(&inspection->outputs[i]);
}

static void add_time(cJSON *object, const char *key, int64_t time_ns) {
    char text[PRINT_TIME_MAX];

    if (time_ns > 0)
        cJSON_AddStringToObject(object, key, print_time(text, time_ns, true));
    else
        cJSON_AddNullToObject(object, key);
}

static void add_output(cJSON *list, const struct inspect_output *output) {
    cJSON *object = cJSON_CreateObject();

    cJSON_AddStringToObject(object, "name", output->name);
    cJSON_AddNumberToObject(object, "messages", (double)output->messages);
    cJSON_AddNumberToObject(object, "lines", (double)output->lines);
    cJSON_AddNumberToObject(object, "bytes", (double)output->bytes);
    add_time(object, "oldest", output->oldest_ns);
    cJSON_AddItemToArray(list, object);
}

static void print_json(const struct inspection *inspection, const char *directory) {
    cJSON *object = cJSON_CreateObject(), *outputs;
    char *text;

    cJSON_AddStringToObject(object, "directory", directory);
    cJSON_AddBoolToObject(object, "running", inspection->in_use);
    cJSON_AddNumberToObject(object, "segments", (double)inspection->segment_count);
    cJSON_AddNumberToObject(object, "bytes_on_disk", (double)inspection->bytes);
    cJSON_AddNumberToObject(object, "damaged_bytes", (double)damaged_bytes(inspection));
    cJSON_AddNumberToObject(object, "lost_records", (double)inspection->lost_records);
    cJSON_AddBoolToObject(object, "checkpoint", !inspection->without_checkpoint);
    outputs = cJSON_AddArrayToObject(object, "outputs");
    for (unsigned i = 0; i < inspection->output_count; i++)
        add_output(outputs, &inspection->outputs[i]);
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
    if (code == EXIT_FINE && args_value(self, args, "json") != NULL)
        print_json(&inspection, directory);
    else if (code == EXIT_FINE)
        print_words(&inspection, directory);
    if (code == EXIT_FINE)
        inspection_release(&inspection);
    agent_free(agent);
    return code;
}

const struct command command_spool_status = {
    .name = "spool status",
    .summary = "What waits for each output, since when, and whether it can all be read",
    .usage = "[flags]",
    .text = "  heliograf spool status --config heliograf.yaml\n"
            "  heliograf spool status --directory /mnt/old/spool --json\n\n"
            "All of it is read: a GiB takes a second or two.\n",
    .flags = flags,
    .takes_config = true,
    .run = run,
};
