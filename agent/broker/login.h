/*
 * agent/broker/login.h: password checks that take long on purpose, on a thread of their own, so that one client's login does not hold up
 * the others' messages. The thread is there from the first check on. All functions on the loop's thread.
 */
#ifndef HELIOGRAF_BROKER_LOGIN_H
#define HELIOGRAF_BROKER_LOGIN_H

#include "agent/broker/passwords.h"
#include "agent/loop/loop.h"

struct logins;
struct login;

struct logins *logins_new(struct loop *loop);
/* Ends the thread, after the check that it is at; what was not told is told nobody. After the loop has stopped. NULL is fine. */
void logins_free(struct logins *logins);

/*
 * Checks later, and calls back on the loop's thread with the answer. Everything is copied, and wiped afterwards. NULL without memory or thread: nothing
 * will be called.
 */
struct login *login_begin(struct logins *logins, struct passwords *passwords, struct str user, struct str password,
                          void (*done)(void *ctx, bool good), void *ctx);
/* Its answer is of no use any more: `done` is not called. Before `done`. */
void login_forget(struct login *login);

#endif
