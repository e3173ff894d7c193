/*
 * tests/support/store_fixture.h: a store in a directory of its own with a loop to tell its tickets on, and a reader that writes down what it is
 * given as text, one line per row, so that states can be compared. The test's own thread stands for the loop's: it runs what is posted.
 */
#ifndef HELIOGRAF_TESTS_STORE_FIXTURE_H
#define HELIOGRAF_TESTS_STORE_FIXTURE_H

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/base/buf.h"
#include "agent/base/clock.h"
#include "agent/broker/store.h"

struct store_fixture {
    char directory[64];
    struct store_options options;
    struct store *store;
    struct store_recovery recovery;
    struct loop *loop;
    uint64_t durable;
    unsigned told;
    struct buf text; /* what was read, sorted as it came */
    struct err err;
};

/* ---- what was read ------------------------------------------------------------------------------------------------- */

static void read_publication(void *ctx, struct publication *publication) {
    struct store_fixture *fixture = ctx;

    buf_printf(&fixture->text, "publication %llu %.*s=%.*s properties=%.*s from=%.*s/%.*s qos=%u retain=%d expires=%lld published=%lld\n",
               (unsigned long long)publication->number, STR_ARGS(publication->topic), STR_ARGS(publication->payload), STR_ARGS(publication->properties),
               STR_ARGS(publication->client_id), STR_ARGS(publication->user), publication->qos, publication->retain, (long long)publication->expires_ns,
               (long long)publication->published_ns);
    publication_unref(publication);
}

static void read_session(void *ctx, const struct stored_session *session) {
    struct store_fixture *fixture = ctx;

    buf_printf(&fixture->text, "session %llu %.*s user=%.*s version=%u expiry=%u ended=%lld will=%d,%u,%llu\n", (unsigned long long)session->number,
               STR_ARGS(session->client_id), STR_ARGS(session->user), session->version, session->expiry_s, (long long)session->ended_ns,
               session->has_will, session->will_delay_s, (unsigned long long)session->will);
}

static void read_subscription(void *ctx, uint64_t session, struct str filter, const struct subscription_terms *terms) {
    struct store_fixture *fixture = ctx;

    buf_printf(&fixture->text, "subscription %llu %.*s qos=%u nl=%d rap=%d rh=%u id=%u\n", (unsigned long long)session, STR_ARGS(filter), terms->qos,
               terms->no_local, terms->retain_as_published, terms->retain_handling, terms->identifier);
}

static void read_received(void *ctx, uint64_t session, uint16_t packet_id) {
    struct store_fixture *fixture = ctx;

    buf_printf(&fixture->text, "received %llu %u\n", (unsigned long long)session, packet_id);
}

static void read_delivery(void *ctx, const struct stored_delivery *delivery) {
    struct store_fixture *fixture = ctx;

    buf_printf(&fixture->text, "delivery %llu to=%llu of=%llu qos=%u retain=%d id=%u state=%d ids=%.*s\n", (unsigned long long)delivery->number,
               (unsigned long long)delivery->session, (unsigned long long)delivery->publication, delivery->qos, delivery->retain, delivery->packet_id,
               (int)delivery->state, STR_ARGS(delivery->subscription_ids));
}

static void read_retained(void *ctx, uint64_t publication) {
    struct store_fixture *fixture = ctx;

    buf_printf(&fixture->text, "retained %llu\n", (unsigned long long)publication);
}

static void read_delayed(void *ctx, uint64_t publication, int64_t due_ns) {
    struct store_fixture *fixture = ctx;

    buf_printf(&fixture->text, "delayed %llu due=%lld\n", (unsigned long long)publication, (long long)due_ns);
}

static inline struct store_reader fixture_reader(struct store_fixture *fixture) {
    return (struct store_reader){ fixture,       read_publication, read_session,  read_subscription, read_received,
                                  read_delivery, read_retained,    read_delayed };
}

/* ---- a store ------------------------------------------------------------------------------------------------------- */

static inline void on_durable(void *ctx, uint64_t ticket) {
    struct store_fixture *fixture = ctx;

    fixture->durable = ticket;
    fixture->told++;
}

static inline bool fixture_open(struct store_fixture *fixture) {
    struct store_reader reader = fixture_reader(fixture);

    err_clear(&fixture->err);
    buf_reset(&fixture->text);
    fixture->durable = 0;
    fixture->store = broker_store_open(&fixture->options, &reader, &fixture->recovery, &fixture->err);
    return fixture->store != NULL;
}

static inline bool fixture_start(struct store_fixture *fixture) {
    if (fixture->loop == NULL)
        fixture->loop = loop_new(&fixture->err);
    return fixture->loop != NULL && store_start(fixture->store, fixture->loop, on_durable, fixture, &fixture->err);
}

/* Runs what was posted. */
static inline void fixture_turn(struct store_fixture *fixture) {
    event_base_loop(loop_base(fixture->loop), EVLOOP_NONBLOCK);
}

/* Hands over, and waits until the ticket is told. */
static inline bool fixture_wait(struct store_fixture *fixture, uint64_t ticket) {
    int64_t until_ns = clock_mono_ns() + 20 * NS_PER_S;

    store_hand_over(fixture->store);
    while (fixture->durable < ticket && clock_mono_ns() < until_ns) {
        nanosleep(&(struct timespec){ 0, 20000 }, NULL);
        fixture_turn(fixture);
    }
    return fixture->durable >= ticket;
}

static inline bool fixture_write(struct store_fixture *fixture) {
    return fixture_wait(fixture, store_ticket(fixture->store));
}

/* Without writing what is left. */
static inline void fixture_close(struct store_fixture *fixture) {
    broker_store_close(fixture->store);
    fixture->store = NULL;
    loop_free(fixture->loop);
    fixture->loop = NULL;
}

static inline void fixture_new(struct store_fixture *fixture) {
    *fixture = (struct store_fixture){ .text = BUF_INIT(1 << 28) };
    /* In memory where there is such a place: no test here is about a real disk's syncs, and there are thousands of them. */
    snprintf(fixture->directory, sizeof fixture->directory, "%s/heliograf-store-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (mkdtemp(fixture->directory) == NULL)
        abort();
    fixture->options = (struct store_options){ .directory = fixture->directory, .sync = true };
}

static inline void fixture_end(struct store_fixture *fixture) {
    char command[128];

    fixture_close(fixture);
    buf_release(&fixture->text);
    snprintf(command, sizeof command, "rm -rf '%s'", fixture->directory);
    if (system(command) != 0)
        fprintf(stderr, "%s: left behind\n", fixture->directory);
}

/* ---- things to put ------------------------------------------------------------------------------------------------- */

static inline struct publication *make_publication(const char *topic, const char *payload) {
    const struct publication_parts parts = { .topic = str_of(topic), .payload = str_of(payload), .properties = STR("pp"), .client_id = STR("press-1"),
                                             .user = STR("anna"), .qos = 1, .retain = true, .expires_ns = 77, .published_ns = -5 };

    return publication_new(&parts);
}

#endif
