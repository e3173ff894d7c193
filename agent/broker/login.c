/* agent/broker/login.c: see login.h. */
#include "agent/broker/login.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct login {
    struct login *next;
    struct logins *logins;
    struct passwords *passwords;
    struct str user, password; /* in `bytes` */
    void (*done)(void *ctx, bool good); /* NULL: forgotten; the loop's thread alone looks at it */
    void *ctx;
    bool good;
    char bytes[];
};

struct logins {
    struct loop *loop;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    struct login *first, **last;
    bool stopping;
};

struct logins *logins_new(struct loop *loop) {
    struct logins *logins = calloc(1, sizeof *logins);

    if (logins == NULL)
        return NULL;
    logins->loop = loop;
    logins->last = &logins->first;
    pthread_mutex_init(&logins->lock, NULL);
    pthread_cond_init(&logins->changed, NULL);
    return logins;
}

static void free_login(struct login *login) {
    password_wipe(login->bytes, login->user.len + login->password.len);
    passwords_unref(login->passwords);
    free(login);
}

static void tell(void *ctx) {
    struct login *login = ctx;

    if (login->done != NULL)
        login->done(login->ctx, login->good);
    free_login(login);
}

static struct login *next_login(struct logins *logins) {
    struct login *login;

    pthread_mutex_lock(&logins->lock);
    while (logins->first == NULL && !logins->stopping)
        pthread_cond_wait(&logins->changed, &logins->lock);
    login = logins->stopping ? NULL : logins->first;
    if (login != NULL) {
        logins->first = login->next;
        if (logins->first == NULL)
            logins->last = &logins->first;
    }
    pthread_mutex_unlock(&logins->lock);
    return login;
}

static void *check_all(void *ctx) {
    struct logins *logins = ctx;
    struct login *login;

    while ((login = next_login(logins)) != NULL) {
        login->good = passwords_check(login->passwords, login->user, login->password);
        if (!loop_post(logins->loop, tell, login))
            free_login(login); /* the connection's own deadline ends its waiting */
    }
    return NULL;
}

struct login *login_begin(struct logins *logins, struct passwords *passwords, struct str user, struct str password,
                          void (*done)(void *ctx, bool good), void *ctx) {
    struct login *login;

    if (!logins->started)
        logins->started = pthread_create(&logins->thread, NULL, check_all, logins) == 0;
    login = logins->started ? malloc(sizeof *login + user.len + password.len) : NULL;
    if (login == NULL)
        return NULL;
    *login = (struct login){ .logins = logins, .passwords = passwords_ref(passwords), .done = done, .ctx = ctx };
    memcpy(login->bytes, user.data, user.len);
    memcpy(login->bytes + user.len, password.data, password.len);
    login->user = str_make(login->bytes, user.len);
    login->password = str_make(login->bytes + user.len, password.len);
    pthread_mutex_lock(&logins->lock);
    *logins->last = login;
    logins->last = &login->next;
    pthread_cond_signal(&logins->changed);
    pthread_mutex_unlock(&logins->lock);
    return login;
}

void login_forget(struct login *login) {
    login->done = NULL;
}

void logins_free(struct logins *logins) {
    if (logins == NULL)
        return;
    pthread_mutex_lock(&logins->lock);
    logins->stopping = true;
    pthread_cond_signal(&logins->changed);
    pthread_mutex_unlock(&logins->lock);
    if (logins->started)
        pthread_join(logins->thread, NULL);
    while (logins->first != NULL) {
        struct login *login = logins->first;
        logins->first = login->next;
        free_login(login);
    }
    pthread_cond_destroy(&logins->changed);
    pthread_mutex_destroy(&logins->lock);
    free(logins);
}
