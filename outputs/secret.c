/* outputs/secret.c: see secret.h. */
#include "outputs/secret.h"

#include "agent/base/clock.h"
#include "agent/base/fs.h"

#define CHECK_EVERY_NS (2 * NS_PER_S)

static bool is_set(const char *text) {
    return text != NULL && text[0] != '\0';
}

/* It goes into a header, where a line break would begin another one. */
static bool is_printable(struct str text) {
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.data[i] < 0x20 || text.data[i] == 0x7F)
            return false;
    return true;
}

static void wipe(struct buf *buf) {
    volatile char *data = buf->data;

    for (size_t i = 0; i < buf->cap; i++)
        data[i] = 0;
    buf_release(buf);
}

static bool load(struct secret *secret, const char *what, struct err *err) {
    struct buf fresh = BUF_INIT(SECRET_MAX);
    struct stat now = { 0 };
    bool ok;

    stat(secret->file, &now); /* before reading: a change in between is then seen the next time */
    ok = fs_read_secret(secret->file, &fresh, err);
    if (ok && str_trim(buf_str(&fresh)).len == 0)
        ok = err_set(err, ERR_MISSING, "%s: %s is empty", what, secret->file);
    if (ok && !is_printable(str_trim(buf_str(&fresh))))
        ok = err_set(err, ERR_SYNTAX, "%s: %s holds a control character", what, secret->file);
    if (ok) {
        buf_reset(&secret->current);
        ok = buf_append_str(&secret->current, str_trim(buf_str(&fresh)));
        secret->seen = now;
    }
    wipe(&fresh);
    return ok;
}

bool secret_init(struct secret *secret, const char *what, struct err *err) {
    buf_init(&secret->current, SECRET_MAX);
    if (pthread_mutex_init(&secret->lock, NULL) != 0)
        return err_set(err, ERR_FULL, "out of memory");
    secret->ready = true;
    secret->checked_ns = clock_mono_ns();
    if (is_set(secret->file))
        return load(secret, what, err);
    if (!is_set(secret->value))
        return true;
    if (!is_printable(str_of(secret->value)))
        return err_set(err, ERR_SYNTAX, "%s holds a control character", what);
    return buf_append_c(&secret->current, secret->value) || err_set(err, ERR_LIMIT, "%s is too long", what);
}

void secret_fini(struct secret *secret) {
    if (!secret->ready)
        return;
    wipe(&secret->current);
    pthread_mutex_destroy(&secret->lock);
    secret->ready = false;
}

static bool has_changed(const struct secret *secret) {
    struct stat now;

    if (stat(secret->file, &now) != 0)
        return false;
    return now.st_mtim.tv_sec != secret->seen.st_mtim.tv_sec || now.st_mtim.tv_nsec != secret->seen.st_mtim.tv_nsec ||
           now.st_ino != secret->seen.st_ino || now.st_size != secret->seen.st_size;
}

void secret_get(struct secret *secret, bool check_now, struct buf *out) {
    int64_t now = clock_mono_ns();

    pthread_mutex_lock(&secret->lock);
    if (is_set(secret->file) && (check_now || now - secret->checked_ns >= CHECK_EVERY_NS)) {
        secret->checked_ns = now;
        if (has_changed(secret))
            load(secret, "", NULL);
    }
    buf_reset(out);
    buf_append_str(out, buf_str(&secret->current));
    pthread_mutex_unlock(&secret->lock);
}
