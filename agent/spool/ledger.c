/* agent/spool/ledger.c: see ledger.h. */
#include "agent/spool/ledger.h"

static void end_for(struct ledger *ledger, uint64_t outputs, enum spool_fate fate) {
    for (; outputs != 0; outputs &= outputs - 1)
        ledger->output[__builtin_ctzll(outputs)].messages[fate]++;
}

static uint64_t all_outputs(const struct ledger *ledger) {
    return ledger->outputs == 64 ? UINT64_MAX : (UINT64_C(1) << ledger->outputs) - 1;
}

static void add_pending(struct ledger *ledger, const struct spool_record *record) {
    for (uint64_t left = record->outputs; left != 0; left &= left - 1) {
        struct ledger_output *output = &ledger->output[__builtin_ctzll(left)];
        output->pending_messages++;
        output->pending_lines += record->lines;
        output->pending_bytes += record->text.len;
    }
}

void ledger_message(struct ledger *ledger, const struct spool_record *records, size_t count) {
    uint64_t missing = all_outputs(ledger);

    ledger->received++;
    for (size_t i = 0; i < count; i++) {
        add_pending(ledger, &records[i]);
        missing &= ~records[i].outputs;
    }
    end_for(ledger, missing, FATE_FILTERED);
}

void ledger_dropped(struct ledger *ledger, const struct spool_record *records, size_t count) {
    uint64_t missing = all_outputs(ledger);

    ledger->received++;
    for (size_t i = 0; i < count; i++) {
        end_for(ledger, records[i].outputs, FATE_DROPPED_FULL);
        for (uint64_t left = records[i].outputs; left != 0; left &= left - 1)
            ledger->output[__builtin_ctzll(left)].lines[FATE_DROPPED_FULL] += records[i].lines;
        missing &= ~records[i].outputs;
    }
    end_for(ledger, missing, FATE_FILTERED);
}

void ledger_recovered_record(struct ledger *ledger, uint64_t outputs, uint32_t lines, uint64_t bytes) {
    for (uint64_t left = outputs; left != 0; left &= left - 1) {
        struct ledger_output *output = &ledger->output[__builtin_ctzll(left)];
        output->pending_messages++;
        output->pending_lines += lines;
        output->pending_bytes += bytes;
    }
}

void ledger_recovered_message(struct ledger *ledger, uint64_t outputs) {
    ledger->received++;
    ledger->recovered++;
    end_for(ledger, all_outputs(ledger) & ~outputs, FATE_EARLIER);
}

void ledger_settle(struct ledger *ledger, unsigned output, const struct spool_settlement *how, uint64_t bytes) {
    struct ledger_output *entry = &ledger->output[output];

    for (int fate = 0; fate < FATE_COUNT; fate++) {
        entry->messages[fate] += how->messages[fate];
        entry->pending_messages -= how->messages[fate];
        entry->lines[fate] += how->lines[fate];
        entry->pending_lines -= how->lines[fate];
    }
    entry->pending_bytes -= bytes;
}

void ledger_figures(const struct ledger *ledger, struct spool_figures *figures) {
    figures->received = ledger->received;
    figures->recovered = ledger->recovered;
    figures->outputs = ledger->outputs;
    for (unsigned i = 0; i < ledger->outputs; i++) {
        const struct ledger_output *from = &ledger->output[i];
        struct spool_output_figures *to = &figures->output[i];
        for (int fate = 0; fate < FATE_COUNT; fate++) {
            to->messages[fate] = from->messages[fate] + ledger->common[fate];
            to->lines[fate] = from->lines[fate];
        }
        to->pending_messages = from->pending_messages;
        to->pending_lines = from->pending_lines;
        to->pending_bytes = from->pending_bytes;
    }
}

const char *spool_fate_name(enum spool_fate fate) {
    static const char *const names[FATE_COUNT] = {
        [FATE_STORED] = "stored",
        [FATE_DEAD_LETTERED] = "dead_lettered",
        [FATE_FILTERED] = "filtered",
        [FATE_DROPPED_FULL] = "dropped_full",
        [FATE_DROPPED_SHUTDOWN] = "dropped_shutdown",
        [FATE_RETURNED] = "returned",
        [FATE_EXPIRED] = "expired",
        [FATE_DAMAGED] = "damaged",
        [FATE_EARLIER] = "before_restart",
    };
    return names[fate];
}
