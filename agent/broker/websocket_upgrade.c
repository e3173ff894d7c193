/* agent/broker/websocket_upgrade.c: the HTTP request that becomes a WebSocket (RFC 6455, section 4.2), and the answer. */
#include "agent/broker/websocket.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

/* What of the head is looked at. Lists may come in several fields (RFC 9110, 5.3), the others may not. */
struct fields {
    struct str host, key, version, origin;
    bool repeated;
    bool to_websocket, upgrades, mqtt, mqtt31; /* named in Upgrade, Connection, Sec-WebSocket-Protocol */
};

static bool is_letter_equal(char a, char b) {
    if (a >= 'A' && a <= 'Z')
        a = (char)(a + 32);
    if (b >= 'A' && b <= 'Z')
        b = (char)(b + 32);
    return a == b;
}

static bool equals_ignoring_case(struct str text, const char *name) {
    size_t i = 0;

    for (; i < text.len && name[i] != '\0'; i++)
        if (!is_letter_equal(text.data[i], name[i]))
            return false;
    return i == text.len && name[i] == '\0';
}

/* A comma-separated list of tokens (RFC 9110, 5.6.1). */
static bool list_has(struct str list, const char *token, bool any_case) {
    while (list.data != NULL) {
        struct str item = str_trim(str_split(&list, ','));
        if (any_case ? equals_ignoring_case(item, token) : str_eq_c(item, token))
            return true;
    }
    return false;
}

size_t websocket_head_length(struct str bytes, size_t from) {
    const char *end = bytes.data + bytes.len, *at;

    from = from > 3 ? from - 3 : 0; /* the end may have been cut */
    if (from >= bytes.len)
        return 0;
    for (at = bytes.data + from; (at = memchr(at, '\n', (size_t)(end - at))) != NULL;) {
        at++;
        if (at - bytes.data >= 4 && memcmp(at - 4, "\r\n\r\n", 4) == 0)
            return (size_t)(at - bytes.data);
        if (at == end)
            return 0;
    }
    return 0;
}

static bool is_token_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_token(struct str text) {
    for (size_t i = 0; i < text.len; i++)
        if (!is_token_letter(text.data[i]))
            return false;
    return text.len > 0;
}

/* No control characters but the tab; bytes above 127 are opaque. */
static bool is_field_value(struct str text) {
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if ((c < ' ' && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static void set_once(struct fields *fields, struct str *field, struct str value) {
    if (field->data != NULL)
        fields->repeated = true;
    *field = value;
}

static void take_field(struct fields *fields, struct str name, struct str value) {
    if (equals_ignoring_case(name, "host"))
        set_once(fields, &fields->host, value);
    else if (equals_ignoring_case(name, "sec-websocket-key"))
        set_once(fields, &fields->key, value);
    else if (equals_ignoring_case(name, "sec-websocket-version"))
        set_once(fields, &fields->version, value);
    else if (equals_ignoring_case(name, "origin"))
        set_once(fields, &fields->origin, value);
    else if (equals_ignoring_case(name, "upgrade"))
        fields->to_websocket |= list_has(value, "websocket", true);
    else if (equals_ignoring_case(name, "connection"))
        fields->upgrades |= list_has(value, "upgrade", true);
    else if (equals_ignoring_case(name, "sec-websocket-protocol")) {
        fields->mqtt |= list_has(value, "mqtt", false);
        fields->mqtt31 |= list_has(value, "mqttv3.1", false);
    }
}

static struct str next_line(struct str *rest) {
    struct str line = str_split(rest, '\n');

    return str_ends_with(line, STR("\r")) ? str_make(line.data, line.len - 1) : line;
}

/* False: a line that is no field. Folded lines are none (RFC 9112, 5.2). */
static bool take_fields(struct str rest, struct fields *fields) {
    for (struct str line = next_line(&rest); line.len > 0; line = next_line(&rest)) {
        struct str value = line, name = str_split(&value, ':');
        if (value.data == NULL || !is_token(name) || !is_field_value(value))
            return false;
        take_field(fields, name, str_trim(value));
    }
    return true;
}

static bool refuse(struct websocket_upgrade *upgrade, int status, const char *words) {
    upgrade->status = status;
    upgrade->words = words;
    return false;
}

/* Only an absolute path is a target here, with or without the scheme and host of the absolute form. */
static bool find_path(struct str target, struct str *path) {
    const char *slash, *query;

    if (str_starts_with(target, STR("http://")) || str_starts_with(target, STR("https://"))) {
        struct str rest = target;
        str_split(&rest, ':');
        rest = str_make(rest.data + 2, rest.len - 2);
        slash = memchr(rest.data, '/', rest.len);
        target = slash != NULL ? str_make(slash, rest.len - (size_t)(slash - rest.data)) : STR("/");
    }
    if (target.len == 0 || target.data[0] != '/')
        return false;
    query = memchr(target.data, '?', target.len);
    *path = query != NULL ? str_make(target.data, (size_t)(query - target.data)) : target;
    return true;
}

static bool check_request_line(struct str line, const struct websocket_rules *rules, struct websocket_upgrade *upgrade) {
    struct str method = str_split(&line, ' '), target = str_split(&line, ' '), path;

    if (!is_token(method) || line.data == NULL || !is_field_value(target) || !str_starts_with(line, STR("HTTP/")))
        return refuse(upgrade, 400, "This is no HTTP request.");
    if (!str_eq_c(line, "HTTP/1.1"))
        return refuse(upgrade, 505, "A WebSocket needs HTTP/1.1.");
    if (!find_path(target, &path))
        return refuse(upgrade, 400, "The request names no path.");
    if (rules->path[0] != '\0' && !str_eq_c(path, rules->path))
        return refuse(upgrade, 404, "There is nothing at this path; MQTT is at another one (websocket_path).");
    return str_eq_c(method, "GET") || refuse(upgrade, 405, "A WebSocket begins with GET.");
}

/* 16 bytes in base64 (RFC 6455, 4.1). */
static bool is_key(struct str key) {
    if (key.len != 24 || !str_ends_with(key, STR("==")))
        return false;
    for (size_t i = 0; i < 22; i++) {
        char c = key.data[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/'))
            return false;
    }
    return true;
}

static bool check_fields(const struct fields *fields, const struct websocket_rules *rules, struct websocket_upgrade *upgrade) {
    if (fields->repeated)
        return refuse(upgrade, 400, "A header field that may come once comes twice.");
    if (fields->host.data == NULL)
        return refuse(upgrade, 400, "The request has no Host.");
    if (!fields->to_websocket || !fields->upgrades)
        return refuse(upgrade, 426, "This is an MQTT broker; talk to it through a WebSocket, subprotocol mqtt.");
    if (!str_eq_c(fields->version, "13"))
        return refuse(upgrade, 426, "Only version 13 of the WebSocket protocol is spoken here.");
    if (!is_key(fields->key))
        return refuse(upgrade, 400, "Sec-WebSocket-Key is missing or is not 16 bytes in base64.");
    if (rules->origin[0] != '\0' && fields->origin.data != NULL && !equals_ignoring_case(fields->origin, rules->origin))
        return refuse(upgrade, 403, "Pages of this origin may not connect (websocket_origin).");
    return true;
}

void websocket_parse_upgrade(struct str head, const struct websocket_rules *rules, struct websocket_upgrade *upgrade) {
    struct fields fields = { .repeated = false };
    struct str rest = head, line = next_line(&rest);

    *upgrade = (struct websocket_upgrade){ .status = 101, .words = "", .protocol = "" };
    if (!check_request_line(line, rules, upgrade))
        return;
    if (!take_fields(rest, &fields)) {
        refuse(upgrade, 400, "A line of the request is no header field.");
        return;
    }
    if (!check_fields(&fields, rules, upgrade))
        return;
    if (fields.mqtt)
        upgrade->protocol = "mqtt";
    else if (fields.mqtt31)
        upgrade->protocol = "mqttv3.1";
    else
        refuse(upgrade, 400, "The subprotocol mqtt must be asked for (Sec-WebSocket-Protocol; MQTT-6.0.0-3).");
    upgrade->key = fields.key;
}

/* base64(SHA-1(key and the RFC's GUID)): 28 letters and a NUL. */
static void accept_key(struct str key, unsigned char out[29]) {
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char text[24 + sizeof guid], sum[SHA_DIGEST_LENGTH];

    memcpy(text, key.data, 24);
    memcpy(text + 24, guid, sizeof guid);
    SHA1(text, 24 + sizeof guid - 1, sum);
    EVP_EncodeBlock(out, sum, sizeof sum);
}

static const char *status_words(int status) {
    switch (status) {
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 426:
        return "Upgrade Required";
    case 431:
        return "Request Header Fields Too Large";
    case 505:
        return "HTTP Version Not Supported";
    }
    return "Bad Request";
}

void websocket_answer(const struct websocket_upgrade *upgrade, struct buf *out) {
    unsigned char accept[29];

    if (upgrade->status == 101) {
        accept_key(upgrade->key, accept);
        buf_printf(out,
                   "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: %s\r\n\r\n",
                   (const char *)accept, upgrade->protocol);
        return;
    }
    buf_printf(out,
               "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n"
               "%s%s\r\n%s\n",
               upgrade->status, status_words(upgrade->status), strlen(upgrade->words) + 1,
               upgrade->status == 426 ? "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" : "",
               upgrade->status == 405 ? "Allow: GET\r\n" : "", upgrade->words);
}
