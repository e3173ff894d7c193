/*
 * agent/delivery/delivery_log.h: what an operator reads about an output: one line per kind of trouble, and one at its
 * end.
 */
#ifndef HELIOGRAF_DELIVERY_DELIVERY_LOG_H
#define HELIOGRAF_DELIVERY_DELIVERY_LOG_H

#include "agent/delivery/sender.h"

/* After each answer. `blamed`: the trouble is the request's, not the output's. */
void delivery_log_answer(struct delivery *delivery, const struct reply *reply, const struct pace_news *news,
                         bool blamed);
void delivery_log_rejected(struct delivery *delivery, enum reject_reason reason, const struct dead_letter *letter);
void delivery_log_target(struct delivery *delivery, struct str target, struct str words);
/* After the last thread: what could not be sent. */
void delivery_log_left(struct delivery *delivery);

#endif
