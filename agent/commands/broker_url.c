/* agent/commands/broker_url.c: see broker_url.h. */
#include "agent/commands/broker_url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/base/str.h"

static const char *const schemes[] = { "mqtt", "mqtts", "ws", "wss" };

static const char *find_scheme(struct str name) {
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (name.len == strlen(schemes[i]) && strncasecmp(name.data, schemes[i], name.len) == 0)
            return schemes[i];
    return NULL;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* On the heap; NULL with `err` for a `%` that begins no byte, or that stands for NUL. */
static char *decode(struct str text, const char *what, struct err *err) {
    char *copy = malloc(text.len + 1), *out = copy;

    if (copy == NULL) {
        err_set(err, ERR_FULL, "no memory");
        return NULL;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] != '%') {
            *out++ = text.data[i];
            continue;
        }
        int high = i + 2 < text.len ? hex_digit(text.data[i + 1]) : -1, low = high >= 0 ? hex_digit(text.data[i + 2]) : -1;
        if (low < 0 || high * 16 + low == 0) {
            err_set(err, ERR_SYNTAX, "a '%%' in the URL's %s is written %%25, and other bytes as %% and two hexadecimal digits", what);
            free(copy);
            return NULL;
        }
        *out++ = (char)(high * 16 + low);
        i += 2;
    }
    *out = '\0';
    return copy;
}

/* Takes "user:password@" off the front of the authority. The last `@` counts: a host has none. */
static bool take_credentials(struct str *authority, struct broker_url *out, struct err *err) {
    size_t at = authority->len;
    struct str user, rest;

    while (at > 0 && authority->data[at - 1] != '@')
        at--;
    if (at == 0)
        return true;
    rest = str_make(authority->data, at - 1);
    *authority = str_make(authority->data + at, authority->len - at);
    user = str_split(&rest, ':');
    if ((out->username = decode(user, "user", err)) == NULL)
        return false;
    return rest.data == NULL || (out->password = decode(rest, "password", err)) != NULL;
}

bool broker_url_parse(const char *text, struct broker_url *out, struct err *err) {
    const char *behind = strstr(text, "://"), *slash;
    const char *scheme = behind != NULL ? find_scheme(str_make(text, (size_t)(behind - text))) : NULL;
    struct str authority;

    memset(out, 0, sizeof *out);
    if (scheme == NULL)
        return err_set(err, ERR_SYNTAX, "the URL must begin with mqtt://, mqtts://, ws:// or wss://");
    behind += 3;
    slash = strchr(behind, '/');
    if (slash == NULL || slash[1] == '\0')
        return err_set(err, ERR_SYNTAX, "the URL has no topic: %s://[user[:password]@]host[:port]/topic", scheme);
    authority = str_make(behind, (size_t)(slash - behind));
    if (!take_credentials(&authority, out, err))
        return false;
    out->topic = strdup(slash + 1);
    out->server = malloc(strlen(scheme) + 3 + authority.len + 1);
    if (out->topic == NULL || out->server == NULL)
        return err_set(err, ERR_FULL, "no memory");
    sprintf(out->server, "%s://%.*s", scheme, STR_ARGS(authority));
    return true;
}

void broker_url_release(struct broker_url *url) {
    free(url->server);
    free(url->username);
    free(url->password);
    free(url->topic);
    memset(url, 0, sizeof *url);
}
