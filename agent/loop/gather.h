/*
 * agent/loop/gather.h: when a loop that is woken by one socket after the other does better to wait a moment and be woken by many. A wake-up costs several
 * times what a small message does. Pure; one thread.
 */
#ifndef HELIOGRAF_LOOP_GATHER_H
#define HELIOGRAF_LOOP_GATHER_H

#include <stdbool.h>

enum {
    GATHER_WAIT_US = 500, /* what this adds to a message's time at most */
    GATHER_WORTH = 4,     /* sockets that a wait has to bring: fewer are cheap to be woken by */
    GATHER_PAUSE = 64,     /* rounds without a wait after one that did not bring them: so a lone client hardly meets one */
};

/* Zeroed at first. */
struct gather {
    unsigned patient; /* sockets served in this round whose peers wait for no answer */
    unsigned pause;   /* rounds until the next trial */
    bool waited;      /* before this round */
};

/* At the end of a round that served `gather->patient` such sockets: whether to wait before the next one. Begins the next round. */
bool gather_is_worth_it(struct gather *gather);

#endif
