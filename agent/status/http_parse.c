/* agent/status/http_parse.c: the pure half of http.h. RFC 9112 as far as a request without interest in its fields goes.
 */
#include "agent/status/http.h"

/* Where the empty line ends, 0 when it is not there yet. A line may end in LF alone (RFC 9112, 2.2). */
static size_t head_length(struct str bytes) {
    const char *at = bytes.data, *end = bytes.data + bytes.len;

    while (at < end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        at++;
        if (at < end && *at == '\n')
            return (size_t)(at + 1 - bytes.data);
        if (end - at >= 2 && at[0] == '\r' && at[1] == '\n')
            return (size_t)(at + 2 - bytes.data);
    }
    return 0;
}

static bool is_token(struct str text) {
    for (size_t i = 0; i < text.len; i++)
        if (!((text.data[i] >= 'A' && text.data[i] <= 'Z') || text.data[i] == '-'))
            return false;
    return text.len > 0;
}

static bool is_visible(struct str text) {
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.data[i] <= ' ' || text.data[i] == 0x7f)
            return false;
    return true;
}

/* The path of "/path?query" or "http://host/path?query"; data NULL when it is neither. */
static struct str target_path(struct str target) {
    struct str path = { NULL, 0 };
    const char *slash, *query;

    if (str_starts_with(target, STR("http://"))) {
        target = str_make(target.data + 7, target.len - 7);
        slash = memchr(target.data, '/', target.len);
        if (slash == NULL)
            return STR("/");
        target = str_make(slash, target.len - (size_t)(slash - target.data));
    }
    if (target.len == 0 || target.data[0] != '/' || !is_visible(target))
        return path;
    query = memchr(target.data, '?', target.len);
    return query != NULL ? str_make(target.data, (size_t)(query - target.data)) : target;
}

static int parse_line(struct str line, struct http_request *out) {
    struct str method = str_split(&line, ' '), target = str_split(&line, ' '), version = line;

    out->head = str_eq_c(method, "HEAD");
    out->remove = str_eq_c(method, "DELETE");
    if (!is_token(method) || version.data == NULL || !str_starts_with(version, STR("HTTP/")))
        return 400;
    if (!str_eq_c(version, "HTTP/1.1") && !str_eq_c(version, "HTTP/1.0"))
        return 505;
    if (!out->head && !out->remove && !str_eq_c(method, "GET"))
        return 405;
    out->path = target_path(target);
    return out->path.data != NULL ? 200 : 400;
}

int http_parse_request(struct str bytes, struct http_request *out) {
    size_t received = bytes.len;
    struct str line;

    *out = (struct http_request){ .path = STR_EMPTY };
    /* Empty lines before the request line are skipped (RFC 9112, 2.2). */
    while (bytes.len > 0 && (bytes.data[0] == '\n' || bytes.data[0] == '\r'))
        bytes = str_make(bytes.data + 1, bytes.len - 1);
    if (head_length(bytes) == 0)
        return received >= HTTP_MAX_HEAD_BYTES ? 431 : 0;
    line = str_split(&bytes, '\n');
    if (str_ends_with(line, STR("\r")))
        line.len--;
    return parse_line(line, out);
}

bool http_split_address(const char *address, struct str *host, struct str *port) {
    const char *colon = strrchr(address, ':');
    uint64_t number;

    if (colon == NULL)
        return false;
    *host = str_make(address, (size_t)(colon - address));
    *port = str_of(colon + 1);
    if (!str_to_uint64(*port, &number) || number > 65535)
        return false;
    if (str_starts_with(*host, STR("[")) && str_ends_with(*host, STR("]"))) {
        *host = str_make(host->data + 1, host->len - 2);
        return host->len > 0;
    }
    return memchr(host->data, ':', host->len) == NULL; /* a bare ::1:9884 could be read two ways */
}
