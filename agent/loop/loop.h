/*
 * agent/loop/loop.h: libevent's base on a thread of its own. The broker and the status endpoint live on it. All
 * functions but loop_post, loop_stop and loop_free are called before loop_start or on the loop's thread.
 */
#ifndef HELIOGRAF_LOOP_LOOP_H
#define HELIOGRAF_LOOP_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/base/err.h"

struct event_base;
struct loop;
struct loop_timer;

struct loop *loop_new(struct err *err);
struct event_base *loop_base(struct loop *loop); /* for agent/status and agent/broker */
bool loop_start(struct loop *loop, struct err *err);
/*
 * Runs `call` on the loop's thread, soon and in the order of posting. Any thread. False without memory. What was posted
 * before loop_stop still runs; what comes after never does.
 */
bool loop_post(struct loop *loop, void (*call)(void *ctx), void *ctx);
/* Calls back every `interval_ns` on the loop's thread until cancelled; a late call is not made up for. NULL without
 * memory. */
struct loop_timer *loop_every(struct loop *loop, int64_t interval_ns, void (*call)(void *ctx), void *ctx);
/*
 * A socket was served whose peer waits for no answer. When many are, one by one, the loop lets them come together: everything else that happens in it
 * meanwhile is up to half a millisecond late (gather.h says when).
 */
void loop_note_patient(struct loop *loop);
void loop_cancel(struct loop_timer *timer); /* NULL is fine; also after loop_stop, before loop_free */
void loop_stop(struct loop *loop);          /* ends the thread and joins it; not on the loop's thread; again is fine */
void loop_free(struct loop *loop);          /* stops it first; NULL is fine */

#endif
