/* agent/commands/secret.c: a secret from whoever sits at the terminal, or from a pipe. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "agent/broker/passwords.h"
#include "agent/commands/command.h"

enum { SECRET_MAX = 65535 };

/*
 * One line from standard input, without its end; byte by byte, so that what follows it is left to others. With `signals` it gives up
 * when one of them has come; the caller takes it.
 */
static bool read_line(int signals, struct buf *out, struct err *err) {
    struct pollfd ready[2] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .fd = signals, .events = POLLIN } };

    for (;;) {
        char c;
        if (poll(ready, signals >= 0 ? 2 : 1, -1) < 0 && errno != EINTR)
            return err_set_errno(err, errno, "cannot wait for the password");
        if (signals >= 0 && ready[1].revents != 0)
            return err_set(err, ERR_IO, "interrupted");
        ssize_t got = read(STDIN_FILENO, &c, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_set_errno(err, errno, "cannot read the password");
        if (got == 0 || c == '\n')
            break;
        if (c == '\0')
            return err_set(err, ERR_SYNTAX, "a password cannot contain a NUL byte");
        if (!buf_append_char(out, c))
            return err_set(err, ERR_LIMIT, "a password has at most %d bytes", SECRET_MAX);
    }
    if (out->len > 0 && out->data[out->len - 1] == '\r')
        out->len--;
    return out->len > 0 || err_set(err, ERR_MISSING, "the password is empty");
}

/*
 * Signals that would end the program are held back while the terminal does not echo; one that came is delivered when `old` is restored, and then the
 * terminal is as it was.
 */
static bool ask(const char *prompt, struct buf *out, struct err *err) {
    struct termios usual, silent;
    sigset_t held, old;
    int signals;
    bool ok;

    sigemptyset(&held);
    sigaddset(&held, SIGINT);
    sigaddset(&held, SIGTERM);
    sigaddset(&held, SIGQUIT);
    sigaddset(&held, SIGHUP);
    sigaddset(&held, SIGTSTP);
    signals = signalfd(-1, &held, SFD_CLOEXEC);
    if (signals < 0 || tcgetattr(STDIN_FILENO, &usual) != 0) {
        err_set_errno(err, errno, "cannot ask for the password");
        if (signals >= 0)
            close(signals);
        return false;
    }
    silent = usual;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    sigprocmask(SIG_BLOCK, &held, &old);
    fputs(prompt, stderr);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
    ok = read_line(signals, out, err);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &usual);
    fputc('\n', stderr);
    close(signals);
    sigprocmask(SIG_SETMASK, &old, NULL);
    return ok;
}

static bool ask_twice(struct buf *out, struct err *err) {
    struct buf again = BUF_INIT(SECRET_MAX);
    bool ok;

    if (!buf_reserve(&again, SECRET_MAX))
        return err_set(err, ERR_LIMIT, "no memory for the password");
    ok = ask("Password: ", out, err) && ask("Again: ", &again, err);
    if (ok && !str_eq(buf_str(out), buf_str(&again)))
        ok = err_set(err, ERR_SYNTAX, "the two passwords are not the same");
    password_wipe(again.data, again.cap);
    buf_release(&again);
    return ok;
}

bool secret_read(struct buf *out, struct err *err) {
    buf_init(out, SECRET_MAX);
    if (!buf_reserve(out, SECRET_MAX)) /* at once: growing would leave copies behind */
        return err_set(err, ERR_LIMIT, "no memory for the password");
    return isatty(STDIN_FILENO) ? ask_twice(out, err) : read_line(-1, out, err);
}

void secret_release(struct buf *secret) {
    if (secret->data != NULL)
        password_wipe(secret->data, secret->cap);
    buf_release(secret);
}
