/* agent/broker/listener_options.c: one entry of `broker.listeners` as it is written. */
#include "agent/broker/listener.h"

#include "agent/base/clock.h"
#include "agent/broker/listener_internal.h"
#include "config/yaml_tree.h"

static const char *const protocols[] = { "mqtt", "websocket", NULL };

#define AT(member) offsetof(struct listener_options, member)

/* clang-format off */
const struct cfg_field listener_options[] = {
    { .key = "address", .type = CFG_STRING, .offset = AT(address), .flags = CFG_REQUIRED,
      .help = "Where to listen: host:port, [::1]:port, :port for all addresses of both families, unix:/path.",
      .example = "\"127.0.0.1:1883\"" },
    { .key = "protocol", .type = CFG_ENUM, .offset = AT(protocol), .fallback = "mqtt", .names = protocols,
      .help = "mqtt: straight over TCP or TLS; websocket: within a WebSocket, as browsers do." },
    { .key = "tls", .type = CFG_OBJECT, .offset = AT(tls), .fields = tls_settings_options,
      .help = "Encrypt, and check client certificates. Files are read again on reload; connections stay." },
    { .key = "max_connections", .type = CFG_INTEGER, .offset = AT(max_connections), .fallback = "0", .min = 0, .max = 10000000,
      .help = "Connections at a time; 0: as many as there are file descriptors." },
    { .key = "handshake_timeout", .type = CFG_DURATION, .offset = AT(handshake_timeout_ns), .fallback = "10s",
      .min = NS_PER_S / 10, .max = 600 * NS_PER_S, .flags = CFG_EXPERT,
      .help = "How long TLS handshake and WebSocket upgrade together may take, 100ms to 10m." },
    { .key = "allow_anonymous", .type = CFG_BOOL, .offset = AT(allow_anonymous), .fallback = "false",
      .help = "Let clients in without a user name; on a loopback address or Unix socket they may come anyway when the broker has no passwords." },
    { .key = "websocket_path", .type = CFG_STRING, .offset = AT(websocket_path),
      .help = "Path that WebSocket clients must ask for; empty: any.", .example = "/mqtt" },
    { .key = "websocket_origin", .type = CFG_STRING, .offset = AT(websocket_origin),
      .help = "Web site whose pages may connect; empty: any. Clients that are no browser are not asked.",
      .example = "\"https://dashboard.example.com\"" },
    { .key = "socket_mode", .type = CFG_STRING, .offset = AT(socket_mode), .fallback = "\"0660\"",
      .help = "Permissions of a Unix socket, octal." },
    CFG_END,
};
/* clang-format on */

static bool is_given(const char *text) {
    return text != NULL && text[0] != '\0';
}

static bool check_tls(const struct tls_settings *tls, const struct yaml_node *map, struct diags *diags) {
    bool ok = true;

    if (is_given(tls->client_ca))
        return true;
    if (tls->require_client_certificate) {
        diag_add(diags, cfg_at(map, "require_client_certificate"), "require_client_certificate needs client_ca: whose certificates are good?");
        ok = false;
    }
    if (tls->use_identity_as_username || tls->use_subject_as_username) {
        diag_add(diags, cfg_at(map, tls->use_identity_as_username ? "use_identity_as_username" : "use_subject_as_username"),
                 "names from client certificates need client_ca: whose certificates are good?");
        ok = false;
    }
    if (is_given(tls->crl)) {
        diag_add(diags, cfg_at(map, "crl"), "crl needs client_ca: it revokes client certificates");
        ok = false;
    }
    return ok;
}

static bool check_names(const struct tls_settings *tls, const struct yaml_node *map, struct diags *diags) {
    if (!tls->use_identity_as_username || !tls->use_subject_as_username)
        return true;
    diag_add(diags, cfg_at(map, "use_subject_as_username"),
             "use_identity_as_username and use_subject_as_username cannot both be on");
    return false;
}

static bool check_websocket(const struct listener_options *options, const struct yaml_node *map, struct diags *diags) {
    bool ok = true;

    if (is_given(options->websocket_path) && options->websocket_path[0] != '/') {
        diag_add(diags, cfg_at(map, "websocket_path"), "websocket_path '%s' does not begin with '/'", options->websocket_path);
        ok = false;
    }
    if (options->protocol == LISTENER_WEBSOCKET)
        return ok;
    if (is_given(options->websocket_path))
        diag_warn(diags, cfg_at(map, "websocket_path"), "websocket_path has no effect without `protocol: websocket`");
    if (is_given(options->websocket_origin))
        diag_warn(diags, cfg_at(map, "websocket_origin"), "websocket_origin has no effect without `protocol: websocket`");
    return ok;
}

bool listener_options_check(struct listener_options *options, const struct yaml_node *map, struct diags *diags) {
    const struct yaml_node *tls = yaml_get(map, "tls");
    struct listener_address address;
    struct err err = ERR_INIT;
    mode_t mode;
    bool ok = check_websocket(options, map, diags);

    options->has_tls = is_given(options->tls.certificate);
    if (options->has_tls) {
        ok &= check_tls(&options->tls, tls, diags);
        ok &= check_names(&options->tls, tls, diags);
    }
    if (options->address != NULL && !listener_parse_address(options->address, &address, &err)) {
        diag_add(diags, cfg_at(map, "address"), "address %s", err.text);
        ok = false;
    }
    if (is_given(options->socket_mode) && !listener_parse_mode(options->socket_mode, &mode)) {
        diag_add(diags, cfg_at(map, "socket_mode"), "socket_mode '%s' is not octal, as 0660", options->socket_mode);
        ok = false;
    }
    return ok;
}

bool listener_is_loopback(const struct listener_options *options) {
    struct listener_address address;

    return listener_parse_address(options->address, &address, NULL) && listener_address_is_loopback(&address);
}
