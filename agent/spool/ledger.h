/*
 * agent/spool/ledger.h: who was accounted how. Plain counters, guarded by the spool's lock, which is what makes the identity
 * hold at every moment.
 */
#ifndef HELIOGRAF_SPOOL_LEDGER_H
#define HELIOGRAF_SPOOL_LEDGER_H

#include "agent/spool/spool.h"

struct ledger_output {
    uint64_t messages[FATE_COUNT], lines[FATE_COUNT];
    uint64_t pending_messages, pending_lines, pending_bytes;
};

struct ledger {
    uint64_t received, recovered;
    uint64_t common[FATE_COUNT]; /* messages that ended the same way for every output */
    unsigned outputs;
    struct ledger_output output[SPOOL_OUTPUTS_MAX];
};

/* One received message, with its records; outputs in none of them filtered it. */
void ledger_message(struct ledger *ledger, const struct spool_record *records, size_t count);

/* One received message that finds no room: dropped for the outputs of its records, filtered for the others. */
void ledger_dropped(struct ledger *ledger, const struct spool_record *records, size_t count);

/* A record that was found on disk and waits for these outputs; then, once per message, for which outputs any of it waits. */
void ledger_recovered_record(struct ledger *ledger, uint64_t outputs, uint32_t lines, uint64_t bytes);
void ledger_recovered_message(struct ledger *ledger, uint64_t outputs);

/* One or more pending messages of an output ended so. `bytes` is of text. */
void ledger_settle(struct ledger *ledger, unsigned output, const struct spool_settlement *how, uint64_t bytes);

void ledger_figures(const struct ledger *ledger, struct spool_figures *figures);

#endif
