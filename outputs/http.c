/*
 * outputs/http.c: see http.h. One easy handle in one multi handle, so that waiting can look at `cancel` ten times a
 * second.
 */
#include "outputs/http.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "agent/base/clock.h"

enum { CANCEL_POLL_MS = 100 };

struct http {
    CURL *easy;
    CURLM *multi;
    const struct http_options *options;
    const atomic_bool *cancel;
    struct buf headers, body;
    char error[CURL_ERROR_SIZE];
};

static void library_init(void) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static bool is_set(const char *text) {
    return text != NULL && text[0] != '\0';
}

/* ---- what comes back ---- */

static size_t take_header(char *data, size_t size, size_t count, void *ctx) {
    struct http *http = ctx;
    size_t len = size * count;

    /* An interim answer (100) or a proxy's comes before the one that counts. */
    if (len >= 5 && memcmp(data, "HTTP/", 5) == 0)
        buf_reset(&http->headers);
    if (len <= http->headers.max - http->headers.len)
        buf_append(&http->headers, data, len);
    return len;
}

static size_t body_limit(struct http *http) {
    long status = 0;

    if (http->options->body_kept > 0)
        return http->options->body_kept;
    curl_easy_getinfo(http->easy, CURLINFO_RESPONSE_CODE, &status);
    return status == 400 || status == 422 || status == 500 ? HTTP_REFUSAL_KEPT : HTTP_BODY_KEPT;
}

static size_t take_body(char *data, size_t size, size_t count, void *ctx) {
    struct http *http = ctx;
    size_t len = size * count, limit = body_limit(http);
    size_t room = http->body.len < limit ? limit - http->body.len : 0;

    buf_append(&http->body, data, len < room ? len : room);
    return len;
}

/* RFC 9110 section 10.2.3: seconds, or a date. */
static int64_t retry_after(struct str value) {
    uint64_t seconds;
    char date[64];
    int64_t wait;

    if (value.len == 0 || value.len >= sizeof date)
        return 0;
    if (str_to_uint64(value, &seconds))
        return seconds < HTTP_RETRY_AFTER_MAX_NS / NS_PER_S ? (int64_t)seconds * NS_PER_S : HTTP_RETRY_AFTER_MAX_NS;
    memcpy(date, value.data, value.len);
    date[value.len] = '\0';
    time_t at = curl_getdate(date, NULL);
    if (at < 0)
        return 0;
    wait = (int64_t)at - clock_real_ns() / NS_PER_S;
    if (wait <= 0)
        return 0;
    return wait < HTTP_RETRY_AFTER_MAX_NS / NS_PER_S ? wait * NS_PER_S : HTTP_RETRY_AFTER_MAX_NS;
}

/* ---- endpoints ---- */

static bool copy_text(char **out, const char *text) {
    size_t size = strlen(text) + 1;

    *out = malloc(size);
    if (*out == NULL)
        return false;
    memcpy(*out, text, size);
    return true;
}

static bool url_part(CURLU *url, CURLUPart part, unsigned flags, char **out) {
    char *text = NULL;
    bool ok = true;

    if (curl_url_get(url, part, &text, flags) == CURLUE_OK && text[0] != '\0')
        ok = copy_text(out, text);
    curl_free(text);
    return ok;
}

static bool is_loopback(const char *host) {
    return strcasecmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 || strcmp(host, "[::1]") == 0;
}

/* The certificate's name takes the host's place in the URL; connecting and the Host header keep the real one. */
static bool use_server_name(struct http_endpoint *endpoint, CURLU *url, const char *host, const char *name) {
    char *port = NULL, text[600];
    bool ok = url_part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT, &port) && port != NULL;

    if (ok) {
        snprintf(text, sizeof text, "::%s:%s", host, port);
        ok = copy_text(&endpoint->connect_to, text);
    }
    if (ok) {
        snprintf(text, sizeof text, "Host: %s:%s", host, port);
        ok = copy_text(&endpoint->host_header, text) && curl_url_set(url, CURLUPART_HOST, name, 0) == CURLUE_OK;
    }
    free(port);
    return ok;
}

static void cut_trailing_slashes(char *text) {
    size_t len = strlen(text);

    while (len > 0 && text[len - 1] == '/')
        text[--len] = '\0';
}

static bool endpoint_from(struct http_endpoint *endpoint, CURLU *url, const char *server_name, struct err *err) {
    char *scheme = NULL, *host = NULL, *query = NULL;
    bool ok = url_part(url, CURLUPART_SCHEME, 0, &scheme) && url_part(url, CURLUPART_HOST, 0, &host) &&
              url_part(url, CURLUPART_QUERY, 0, &query) &&
              url_part(url, CURLUPART_USER, CURLU_URLDECODE, &endpoint->user) &&
              url_part(url, CURLUPART_PASSWORD, CURLU_URLDECODE, &endpoint->password);

    if (ok && (scheme == NULL || host == NULL || (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))) {
        ok = err_set(err, ERR_UNSUPPORTED, "only http://, https:// and unix:// URLs can be written to");
    } else if (ok && query != NULL) {
        ok = err_set(err, ERR_SYNTAX, "a URL ends before '?': database, bucket and so on have options of their own");
    } else if (ok) {
        endpoint->loopback = is_loopback(host);
        curl_url_set(url, CURLUPART_USER, NULL, 0);
        curl_url_set(url, CURLUPART_PASSWORD, NULL, 0);
        curl_url_set(url, CURLUPART_FRAGMENT, NULL, 0);
        ok = url_part(url, CURLUPART_URL, 0, &endpoint->display);
        if (ok && is_set(server_name) && strcmp(scheme, "https") == 0)
            ok = use_server_name(endpoint, url, host, server_name);
        ok = ok && url_part(url, CURLUPART_URL, 0, &endpoint->base);
    }
    free(scheme);
    free(host);
    free(query);
    return ok;
}

bool http_endpoint_init(struct http_endpoint *endpoint, const char *url, const char *tls_server_name, struct err *err) {
    static const char unix_scheme[] = "unix://";

    *endpoint = (struct http_endpoint){ .base = NULL };
    if (strncmp(url, unix_scheme, sizeof unix_scheme - 1) == 0) {
        const char *path = url + sizeof unix_scheme - 1;
        if (path[0] != '/')
            return err_set(err, ERR_SYNTAX, "a Unix socket is written unix:///path/to/socket");
        endpoint->loopback = true;
        if (!copy_text(&endpoint->unix_path, path) || !copy_text(&endpoint->base, "http://localhost") ||
            !copy_text(&endpoint->display, url))
            return err_set(err, ERR_FULL, "out of memory");
        return true;
    }
    CURLU *parsed = curl_url();
    if (parsed == NULL)
        return err_set(err, ERR_FULL, "out of memory");
    bool ok = curl_url_set(parsed, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK;
    if (!ok)
        err_set(err, ERR_SYNTAX, "not a URL like http://127.0.0.1:8086");
    else
        ok = endpoint_from(endpoint, parsed, tls_server_name, err);
    curl_url_cleanup(parsed);
    if (!ok)
        return err_set(err, ERR_FULL, "out of memory"); /* unless the reason is there already */
    cut_trailing_slashes(endpoint->base);
    cut_trailing_slashes(endpoint->display);
    return true;
}

void http_endpoint_release(struct http_endpoint *endpoint) {
    free(endpoint->base);
    free(endpoint->display);
    free(endpoint->unix_path);
    free(endpoint->user);
    free(endpoint->password);
    free(endpoint->connect_to);
    free(endpoint->host_header);
    *endpoint = (struct http_endpoint){ .base = NULL };
}

/* ---- options ---- */

static void set_text(CURL *easy, CURLoption option, const char *text) {
    if (is_set(text))
        curl_easy_setopt(easy, option, text);
}

static void set_tls(CURL *easy, const struct http_options *options) {
    static const long versions[] = {
        [HTTP_TLS_1_0] = CURL_SSLVERSION_TLSv1_0,
        [HTTP_TLS_1_1] = CURL_SSLVERSION_TLSv1_1,
        [HTTP_TLS_1_2] = CURL_SSLVERSION_TLSv1_2,
        [HTTP_TLS_1_3] = CURL_SSLVERSION_TLSv1_3,
    };

    set_text(easy, CURLOPT_CAINFO, options->tls_ca);
    set_text(easy, CURLOPT_SSLCERT, options->tls_cert);
    set_text(easy, CURLOPT_SSLKEY, options->tls_key);
    set_text(easy, CURLOPT_KEYPASSWD, options->tls_key_password);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, versions[options->tls_min_version]);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, options->insecure_skip_verify ? 0L : 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, options->insecure_skip_verify ? 0L : 2L);
}

static void set_options(struct http *http) {
    const struct http_options *options = http->options;
    int64_t timeout_ms = options->timeout_ns / NS_PER_MS;
    CURL *easy = http->easy;

    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)(timeout_ms < HTTP_CONNECT_TIMEOUT_MS ? timeout_ms : HTTP_CONNECT_TIMEOUT_MS));
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, http->error);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, http);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, http);
    set_text(easy, CURLOPT_USERAGENT, options->user_agent);
    set_text(easy, CURLOPT_INTERFACE, options->local_address);
    set_tls(easy, options);
}

struct http *http_open(const struct http_options *options, const atomic_bool *cancel, struct err *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct http *http = calloc(1, sizeof *http);

    pthread_once(&once, library_init);
    if (http == NULL || (http->easy = curl_easy_init()) == NULL || (http->multi = curl_multi_init()) == NULL) {
        http_close(http);
        err_set(err, ERR_FULL, "out of memory for an HTTP connection");
        return NULL;
    }
    http->options = options;
    http->cancel = cancel;
    buf_init(&http->headers, HTTP_HEADERS_KEPT);
    buf_init(&http->body, options->body_kept > HTTP_REFUSAL_KEPT ? options->body_kept : HTTP_REFUSAL_KEPT);
    set_options(http);
    return http;
}

void http_close(struct http *http) {
    if (http == NULL)
        return;
    if (http->easy != NULL)
        curl_easy_cleanup(http->easy);
    if (http->multi != NULL)
        curl_multi_cleanup(http->multi);
    buf_release(&http->headers);
    buf_release(&http->body);
    free(http);
}

/* ---- one request ---- */

static bool add_to(struct curl_slist **list, const char *text) {
    struct curl_slist *longer = curl_slist_append(*list, text);

    if (longer == NULL)
        return false;
    *list = longer;
    return true;
}

static bool make_headers(const struct http_request *request, struct curl_slist **list) {
    /* An empty `Expect:` keeps curl from waiting for "100 Continue" before a body of more than 1 MB. */
    bool ok = add_to(list, "Expect:");

    if (request->endpoint->host_header != NULL)
        ok = ok && add_to(list, request->endpoint->host_header);
    for (const char *const *header = request->headers; ok && header != NULL && *header != NULL; header++)
        ok = add_to(list, *header);
    return ok;
}

/* A proxy from the environment is not for loopback; one that is configured is for everything. */
static const char *proxy_of(const struct http *http, const struct http_endpoint *endpoint) {
    if (is_set(http->options->proxy))
        return http->options->proxy;
    return endpoint->loopback ? "" : NULL;
}

static void set_request(struct http *http, const struct http_request *request, const char *url) {
    CURL *easy = http->easy;

    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, request->endpoint->unix_path);
    curl_easy_setopt(easy, CURLOPT_PROXY, proxy_of(http, request->endpoint));
    if (is_set(http->options->proxy))
        curl_easy_setopt(easy, CURLOPT_NOPROXY, "");
    curl_easy_setopt(easy, CURLOPT_USERNAME, request->user);
    curl_easy_setopt(easy, CURLOPT_PASSWORD, request->user != NULL ? request->password : NULL);
    if (request->post) {
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body.data);
    } else {
        curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    }
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->remove ? "DELETE" : NULL);
}

static bool is_cancelled(const struct http *http) {
    return http->cancel != NULL && atomic_load_explicit(http->cancel, memory_order_relaxed);
}

static CURLcode transfer(struct http *http, bool *cancelled) {
    CURLcode result = CURLE_OUT_OF_MEMORY;
    CURLMsg *message;
    int running = 1, left;

    if (curl_multi_add_handle(http->multi, http->easy) != CURLM_OK)
        return result;
    while (running > 0 && !(*cancelled = is_cancelled(http))) {
        if (curl_multi_perform(http->multi, &running) != CURLM_OK)
            break;
        if (running > 0)
            curl_multi_poll(http->multi, NULL, 0, CANCEL_POLL_MS, NULL);
    }
    while ((message = curl_multi_info_read(http->multi, &left)) != NULL)
        if (message->msg == CURLMSG_DONE) {
            result = message->data.result;
            *cancelled = false;
        }
    curl_multi_remove_handle(http->multi, http->easy);
    return result;
}

/*
 * The server closed the idle connection just when it was used again. curl notices that when it reads, but not when it
 * sends. It is no failure, a new connection will do: lines that arrive twice do no harm, should the server have read
 * them after all.
 */
static bool was_stale(struct http *http, CURLcode result) {
    long connects = 1, status = 0;

    if (result != CURLE_SEND_ERROR && result != CURLE_RECV_ERROR && result != CURLE_GOT_NOTHING)
        return false;
    curl_easy_getinfo(http->easy, CURLINFO_NUM_CONNECTS, &connects);
    curl_easy_getinfo(http->easy, CURLINFO_RESPONSE_CODE, &status);
    return connects == 0 && status == 0;
}

static void words_of(struct http *http, CURLcode result, const struct http_endpoint *endpoint, char *out, size_t size) {
    char detail[96] = "";
    long error_number = 0;

    curl_easy_getinfo(http->easy, CURLINFO_OS_ERRNO, &error_number);
    if (error_number != 0 && strerror_r((int)error_number, detail, sizeof detail) != 0)
        snprintf(detail, sizeof detail, "error %ld", error_number);
    if (result == CURLE_COULDNT_CONNECT && detail[0] != '\0')
        snprintf(out, size, "cannot connect to %.120s: %s", endpoint->display, detail);
    else if (result == CURLE_OPERATION_TIMEDOUT)
        snprintf(out, size, "no answer from %.120s in time", endpoint->display);
    else
        snprintf(out, size, "%.120s: %.120s", endpoint->display,
                 http->error[0] != '\0' ? http->error : curl_easy_strerror(result));
}

static bool broke_while_sending(struct http *http, CURLcode result, const struct http_request *request) {
    curl_off_t sent = 0;

    curl_easy_getinfo(http->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    if (result == CURLE_SEND_ERROR)
        return true;
    return (result == CURLE_RECV_ERROR || result == CURLE_GOT_NOTHING) && (uint64_t)sent < request->body.len;
}

static void fill_answer(struct http *http, CURLcode result, const struct http_request *request,
                        struct http_answer *answer) {
    long status = 0;

    curl_easy_getinfo(http->easy, CURLINFO_RESPONSE_CODE, &status);
    answer->status = (int)status;
    answer->headers = buf_str(&http->headers);
    answer->body = buf_str(&http->body);
    answer->retry_after_ns = retry_after(http_header(answer, "Retry-After"));
    if (answer->cancelled) {
        snprintf(answer->error, sizeof answer->error, "cancelled");
    } else if (result != CURLE_OK) {
        words_of(http, result, request->endpoint, answer->error, sizeof answer->error);
        answer->upload_broken = broke_while_sending(http, result, request);
    }
}

static void forget_last_answer(struct http *http) {
    if (http->body.cap > HTTP_BODY_KEPT)
        buf_release(&http->body);
    buf_reset(&http->body);
    buf_reset(&http->headers);
    http->error[0] = '\0';
}

void http_perform(struct http *http, const struct http_request *request, struct http_answer *answer) {
    struct curl_slist *headers = NULL, *connect_to = NULL;
    struct buf url = BUF_INIT(16384);
    CURLcode result = CURLE_OUT_OF_MEMORY;
    bool ready;

    *answer = (struct http_answer){ .headers = STR_EMPTY, .body = STR_EMPTY };
    forget_last_answer(http);
    buf_append_c(&url, request->endpoint->base);
    buf_append_c(&url, request->path);
    ready = make_headers(request, &headers) && !url.failed && buf_reserve(&url, 1);
    if (request->endpoint->connect_to != NULL)
        ready = ready && add_to(&connect_to, request->endpoint->connect_to);
    if (ready) {
        set_request(http, request, buf_cstr(&url));
        curl_easy_setopt(http->easy, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(http->easy, CURLOPT_CONNECT_TO, connect_to);
        result = transfer(http, &answer->cancelled);
        if (!answer->cancelled && was_stale(http, result)) {
            forget_last_answer(http);
            curl_easy_setopt(http->easy, CURLOPT_FRESH_CONNECT, 1L);
            result = transfer(http, &answer->cancelled);
            curl_easy_setopt(http->easy, CURLOPT_FRESH_CONNECT, 0L);
        }
        fill_answer(http, result, request, answer);
        curl_easy_setopt(http->easy, CURLOPT_HTTPHEADER, NULL);
        curl_easy_setopt(http->easy, CURLOPT_CONNECT_TO, NULL);
    } else {
        snprintf(answer->error, sizeof answer->error, "out of memory for a request");
    }
    curl_slist_free_all(headers);
    curl_slist_free_all(connect_to);
    buf_release(&url);
}
