/* outputs/http_text.c: the part of http.h that needs no connection: headers, queries, options. */
#include "outputs/http.h"

#include <errno.h>
#include <strings.h>
#include <unistd.h>

#include "agent/base/clock.h"

static bool is_set(const char *text) {
    return text != NULL && text[0] != '\0';
}

struct str http_header(const struct http_answer *answer, const char *name) {
    struct str rest = answer->headers;
    size_t name_len = strlen(name);

    while (rest.len > 0) {
        struct str line = str_split(&rest, '\n');
        if (line.len > name_len && line.data[name_len] == ':' && strncasecmp(line.data, name, name_len) == 0)
            return str_trim(str_make(line.data + name_len + 1, line.len - name_len - 1));
    }
    return STR_EMPTY;
}

bool http_header_safe(const char *text) {
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7F)
            return false;
    return true;
}

static bool readable(const char *key, const char *path, struct err *err) {
    if (!is_set(path) || access(path, R_OK) == 0)
        return true;
    return err_set_errno(err, errno, "%s: cannot read %s", key, path);
}

bool http_options_check(const struct http_options *options, struct err *err) {
    if (options->timeout_ns < NS_PER_MS)
        return err_set(err, ERR_LIMIT, "timeout must be at least 1ms");
    if (is_set(options->user_agent) && !http_header_safe(options->user_agent))
        return err_set(err, ERR_SYNTAX, "user_agent holds a control character");
    if (is_set(options->tls_key) && !is_set(options->tls_cert))
        return err_set(err, ERR_MISSING, "tls_key needs tls_cert");
    return readable("tls_ca", options->tls_ca, err) && readable("tls_cert", options->tls_cert, err) &&
           readable("tls_key", options->tls_key, err);
}

bool http_query_add(struct buf *out, const char *key, struct str value) {
    static const char hex[] = "0123456789ABCDEF";

    if (out->len > 0 && out->data[out->len - 1] != '?')
        buf_append_char(out, '&');
    buf_append_c(out, key);
    buf_append_char(out, '=');
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.data[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                     c == '.' || c == '_' || c == '~';
        if (plain)
            buf_append_char(out, (char)c);
        else
            buf_append(out, (char[]){ '%', hex[c >> 4], hex[c & 15] }, 3);
    }
    return !out->failed;
}
