/*
 * agent/status/prometheus.h: the pieces of the Prometheus text that other views share. status_prometheus is in
 * status.h.
 */
#ifndef HELIOGRAF_STATUS_PROMETHEUS_H
#define HELIOGRAF_STATUS_PROMETHEUS_H

#include "agent/base/buf.h"
#include "agent/status/snapshot.h"

/* Sets out->failed when the snapshot is not complete. */
void prometheus_write(const struct snapshot *snapshot, struct buf *out);

/* "heliograf_", or "" for the names that all programs share (`process_*`). */
const char *prometheus_prefix(const char *name);

/* Backslash and newline, and with `quotes` also the double quote, as the text format escapes them. */
void prometheus_escape(struct buf *out, const char *text, bool quotes);

/* The shortest of 15 or 17 digits that reads back as the same double; NaN, +Inf, -Inf. */
void prometheus_number(struct buf *out, double value);

#endif
