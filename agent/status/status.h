/*
 * agent/status/status.h: figures and health over HTTP, served by libevent on the loop's thread: /metrics (Prometheus
 * text 0.0.4),
 * /-/healthy, /-/ready, and a small page at /; with an embedded broker /clients. Clients can be disconnected only where the
 * address is a loopback one.
 */
#ifndef HELIOGRAF_STATUS_STATUS_H
#define HELIOGRAF_STATUS_STATUS_H

#include "agent/base/buf.h"
#include "agent/base/err.h"
#include "agent/base/metric.h"
#include "config/schema.h"

struct loop;
struct status;

struct status_options {
    char *address; /* "127.0.0.1:9884", "[::1]:9884", ":9884"; empty turns it off */
};
extern const struct cfg_field status_options[]; /* for struct status_options */

struct status_hooks {
    void *ctx;
    const struct metric_registry *metrics;
    /* True when ready; otherwise, and in any case, words for people are appended to `why`, one line per thing. */
    bool (*ready)(void *ctx, struct buf *why);
    /* Clients of the embedded broker: as JSON at /clients, and the end of one by DELETE /clients/<client id>. NULL: there is no broker. */
    void (*list_clients)(void *ctx, struct buf *json);
    bool (*kick_client)(void *ctx, struct str client_id); /* false: it is not connected */
};

/* False with ERR_SYNTAX when the address cannot be one; empty is fine. */
bool status_check_address(const char *address, struct err *err);

/*
 * Listens; NULL with `err` ("cannot listen on '127.0.0.1:9884': Address already in use"). Port 0 takes a free one, see
 * status_port. Before loop_start or on the loop's thread; not for an empty address. `hooks` is copied; `hooks->ready`
 * may be NULL, and is called on the loop's thread.
 */
struct status *status_open(const struct status_options *options, struct loop *loop, const struct status_hooks *hooks,
                           struct err *err);
unsigned status_port(const struct status *status);
void status_close(struct status *status); /* after the loop has stopped; NULL is fine */

/* Prometheus text of everything in the registry, with HELP and TYPE, samples grouped by name; also for tests and
 * commands. */
void status_prometheus(const struct metric_registry *metrics, struct buf *out);

/*
 * The process's own figures (`process_*`: memory, CPU, start, descriptors, threads) and `build_info`; a
 * metric_source.collect for wiring to register, ctx NULL.
 */
void status_collect_process(void *unused, const struct metric_writer *writer);

#endif
