/* agent/spool/spool_metrics.c: the ledger as metrics, from one consistent picture. */
#include "agent/spool/spool.h"

#include "agent/base/clock.h"

#define LEDGER "ledger"

static const struct metric_desc received = { "messages_received_total", "Messages accounted for in the ledger.", LEDGER,
                                             METRIC_COUNTER };
static const struct metric_desc messages = { "messages_total",
                                             "Messages that ended, by output and outcome: received = these + pending.",
                                             LEDGER, METRIC_COUNTER };
static const struct metric_desc pending = { "messages_pending", "Messages that wait for, or are on their way to, an output.",
                                            LEDGER, METRIC_GAUGE };
static const struct metric_desc lines = { "lines_total", "Lines that ended, by output and outcome.", LEDGER, METRIC_COUNTER };
static const struct metric_desc lines_pending = { "lines_pending", "Lines that wait for an output.", LEDGER, METRIC_GAUGE };
static const struct metric_desc bytes_pending = { "bytes_pending", "Bytes of line protocol that wait for an output.", LEDGER,
                                                  METRIC_GAUGE };
static const struct metric_desc oldest = { "spool_oldest_seconds", "Age of the oldest message that waits for an output.",
                                           LEDGER, METRIC_GAUGE };
static const struct metric_desc bytes = { "spool_bytes", "Bytes held by the spool.", LEDGER, METRIC_GAUGE };
static const struct metric_desc limit = { "spool_limit_bytes", "The spool's max_bytes.", LEDGER, METRIC_GAUGE };
static const struct metric_desc segments = { "spool_segments", "Segments held by the spool.", LEDGER, METRIC_GAUGE };
static const struct metric_desc unacknowledged = { "spool_undurable_records",
                                                   "Records appended and not yet durable: their messages are not acknowledged.",
                                                   LEDGER, METRIC_GAUGE };

static const struct metric_desc recovered = { "spool_recovered_messages_total", "Messages of an earlier run that were found on disk at the start.",
                                              LEDGER, METRIC_COUNTER };
static const struct metric_desc degraded = { "spool_degraded", "1 while the disk refuses and nothing new is acknowledged.", LEDGER,
                                             METRIC_GAUGE };
static const struct metric_desc errors = { "spool_disk_errors_total", "File operations of the spool that failed.", LEDGER,
                                           METRIC_COUNTER };
static const struct metric_desc commits = { "spool_commits_total", "Groups of records written to disk.", LEDGER, METRIC_COUNTER };
static const struct metric_desc committed = { "spool_committed_bytes_total", "Bytes written to disk in them.", LEDGER, METRIC_COUNTER };
static const struct metric_desc memory = { "spool_memory_bytes", "Bytes of the spool that stand in memory.", LEDGER, METRIC_GAUGE };
static const struct metric_desc damaged = { "spool_damaged_bytes_total", "Bytes found damaged at the start.", LEDGER, METRIC_COUNTER };
static const struct metric_desc lost = { "spool_lost_records_total", "Records that the damage cost, as far as that is known.", LEDGER,
                                         METRIC_COUNTER };
static const struct metric_desc torn = { "spool_torn_bytes_total", "Bytes of a last write that was cut off before it was acknowledged.",
                                         LEDGER, METRIC_COUNTER };

static void collect_disk(const struct spool *spool, const struct spool_figures *figures, const struct metric_writer *writer) {
    struct spool_recovery found;

    spool_recovered(spool, &found);
    metric_sample(writer, &recovered, NULL, NULL, NULL, NULL, (double)figures->recovered);
    metric_sample(writer, &degraded, NULL, NULL, NULL, NULL, figures->degraded ? 1 : 0);
    metric_sample(writer, &errors, NULL, NULL, NULL, NULL, (double)figures->disk_errors);
    metric_sample(writer, &commits, NULL, NULL, NULL, NULL, (double)figures->commits);
    metric_sample(writer, &committed, NULL, NULL, NULL, NULL, (double)figures->committed_bytes);
    metric_sample(writer, &memory, NULL, NULL, NULL, NULL, (double)figures->memory_bytes);
    metric_sample(writer, &damaged, NULL, NULL, NULL, NULL, (double)found.damaged_bytes);
    metric_sample(writer, &lost, NULL, NULL, NULL, NULL, (double)found.lost_records);
    metric_sample(writer, &torn, NULL, NULL, NULL, NULL, (double)found.torn_bytes);
}

static void collect_output(const struct spool_output_figures *output, const char *name, const struct metric_writer *writer) {
    int64_t age_ns = output->oldest_ns != 0 ? clock_real_ns() - output->oldest_ns : 0;

    for (int fate = 0; fate < FATE_COUNT; fate++) {
        const char *outcome = spool_fate_name((enum spool_fate)fate);
        metric_sample(writer, &messages, "output", name, "outcome", outcome, (double)output->messages[fate]);
        if (fate == FATE_FILTERED || fate == FATE_RETURNED)
            continue; /* such messages never became lines */
        metric_sample(writer, &lines, "output", name, "outcome", outcome, (double)output->lines[fate]);
    }
    metric_sample(writer, &pending, "output", name, NULL, NULL, (double)output->pending_messages);
    metric_sample(writer, &lines_pending, "output", name, NULL, NULL, (double)output->pending_lines);
    metric_sample(writer, &bytes_pending, "output", name, NULL, NULL, (double)output->pending_bytes);
    metric_sample(writer, &oldest, "output", name, NULL, NULL, age_ns > 0 ? (double)age_ns / NS_PER_S : 0);
}

void spool_collect(void *ctx, const struct metric_writer *writer) {
    const struct spool_metrics *metrics = ctx;
    struct spool_figures figures;

    spool_figures(metrics->spool, &figures);
    metric_sample(writer, &received, NULL, NULL, NULL, NULL, (double)figures.received);
    for (unsigned i = 0; i < figures.outputs; i++)
        collect_output(&figures.output[i], metrics->names[i], writer);
    metric_sample(writer, &bytes, NULL, NULL, NULL, NULL, (double)figures.bytes);
    metric_sample(writer, &limit, NULL, NULL, NULL, NULL, (double)figures.max_bytes);
    metric_sample(writer, &segments, NULL, NULL, NULL, NULL, (double)figures.segments);
    metric_sample(writer, &unacknowledged, NULL, NULL, NULL, NULL,
                  (double)(figures.appended_sequence - figures.durable_sequence));
    if (figures.on_disk)
        collect_disk(metrics->spool, &figures, writer);
}
