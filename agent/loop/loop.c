/* agent/loop/loop.c: see loop.h. One event wakes the thread: for posts, and to stop; both are read under one lock. */
#include "agent/loop/loop.h"

#include <event2/event.h>
#include <event2/thread.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "agent/base/clock.h"
#include "agent/loop/gather.h"

struct post {
    void (*call)(void *ctx);
    void *ctx;
    struct post *next;
};

struct loop {
    struct event_base *base;
    struct event *wake;
    pthread_t thread;
    bool started;
    struct gather gather; /* the loop's thread alone */
    pthread_mutex_t lock; /* guards the three below */
    struct post *first, **tail;
    bool stopping;
};

struct loop_timer {
    struct event *event;
    void (*call)(void *ctx);
    void *ctx;
};

static pthread_once_t threads_once = PTHREAD_ONCE_INIT;

static void use_threads(void) {
    evthread_use_pthreads();
}

static struct post *take_posts(struct loop *loop, bool *stopping) {
    struct post *posts;

    pthread_mutex_lock(&loop->lock);
    posts = loop->first;
    loop->first = NULL;
    loop->tail = &loop->first;
    *stopping = loop->stopping;
    pthread_mutex_unlock(&loop->lock);
    return posts;
}

/* What was posted before the stop still runs. */
static void on_wake(evutil_socket_t fd, short what, void *ctx) {
    struct loop *loop = ctx;
    bool stopping;

    (void)fd;
    (void)what;
    for (struct post *post = take_posts(loop, &stopping), *next; post != NULL; post = next) {
        next = post->next;
        post->call(post->ctx);
        free(post);
    }
    if (stopping)
        event_base_loopbreak(loop->base);
}

/*
 * Changes to what a socket is waited for are collected and given to epoll once per round: a pause and its end cost nothing, waiting
 * for room to write costs one system call and not two. Safe as long as no descriptor is duplicated while it is in the loop.
 */
static struct event_base *new_base(void) {
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;

    if (config != NULL && event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST) == 0)
        base = event_base_new_with_config(config);
    if (config != NULL)
        event_config_free(config);
    return base;
}

struct loop *loop_new(struct err *err) {
    struct loop *loop = calloc(1, sizeof *loop);

    pthread_once(&threads_once, use_threads);
    if (loop == NULL) {
        err_set(err, ERR_LIMIT, "no memory for the event loop");
        return NULL;
    }
    loop->tail = &loop->first;
    pthread_mutex_init(&loop->lock, NULL);
    loop->base = new_base();
    loop->wake = loop->base != NULL ? event_new(loop->base, -1, 0, on_wake, loop) : NULL;
    if (loop->wake == NULL) {
        loop_free(loop);
        err_set(err, ERR_IO, "cannot make an event loop");
        return NULL;
    }
    return loop;
}

struct event_base *loop_base(struct loop *loop) {
    return loop->base;
}

static void *run(void *ctx) {
    struct loop *loop = ctx;

    while (event_base_loop(loop->base, EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY) == 0 && !event_base_got_break(loop->base))
        if (gather_is_worth_it(&loop->gather))
            nanosleep(&(struct timespec){ 0, GATHER_WAIT_US * NS_PER_US }, NULL);
    return NULL;
}

void loop_note_patient(struct loop *loop) {
    loop->gather.patient++;
}

bool loop_start(struct loop *loop, struct err *err) {
    sigset_t all, before;
    int error;

    /* Signals are the main thread's business: the new thread inherits a mask that lets none in. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&loop->thread, NULL, run, loop);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0)
        return err_set_errno(err, error, "cannot start the event loop's thread");
    loop->started = true;
    return true;
}

bool loop_post(struct loop *loop, void (*call)(void *ctx), void *ctx) {
    struct post *post = malloc(sizeof *post);

    if (post == NULL)
        return false;
    *post = (struct post){ .call = call, .ctx = ctx };
    pthread_mutex_lock(&loop->lock);
    *loop->tail = post;
    loop->tail = &post->next;
    pthread_mutex_unlock(&loop->lock);
    event_active(loop->wake, EV_TIMEOUT, 0);
    return true;
}

static void on_timer(evutil_socket_t fd, short what, void *ctx) {
    struct loop_timer *timer = ctx;

    (void)fd;
    (void)what;
    timer->call(timer->ctx);
}

struct loop_timer *loop_every(struct loop *loop, int64_t interval_ns, void (*call)(void *ctx), void *ctx) {
    struct timeval interval = { .tv_sec = interval_ns / NS_PER_S, .tv_usec = interval_ns % NS_PER_S / NS_PER_US };
    struct loop_timer *timer = malloc(sizeof *timer);

    if (timer == NULL)
        return NULL;
    *timer = (struct loop_timer){ .call = call, .ctx = ctx };
    timer->event = event_new(loop->base, -1, EV_PERSIST, on_timer, timer);
    if (timer->event == NULL || event_add(timer->event, &interval) != 0) {
        loop_cancel(timer);
        return NULL;
    }
    return timer;
}

void loop_cancel(struct loop_timer *timer) {
    if (timer == NULL)
        return;
    if (timer->event != NULL)
        event_free(timer->event);
    free(timer);
}

void loop_stop(struct loop *loop) {
    if (!loop->started)
        return;
    pthread_mutex_lock(&loop->lock);
    loop->stopping = true;
    pthread_mutex_unlock(&loop->lock);
    event_active(loop->wake, EV_TIMEOUT, 0);
    pthread_join(loop->thread, NULL);
    loop->started = false;
}

void loop_free(struct loop *loop) {
    bool stopping;

    if (loop == NULL)
        return;
    loop_stop(loop);
    for (struct post *post = take_posts(loop, &stopping), *next; post != NULL; post = next) {
        next = post->next;
        free(post);
    }
    if (loop->wake != NULL)
        event_free(loop->wake);
    if (loop->base != NULL)
        event_base_free(loop->base);
    pthread_mutex_destroy(&loop->lock);
    free(loop);
}
