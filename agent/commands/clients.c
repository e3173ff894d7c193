/* agent/commands/clients.c: who is connected to the embedded broker of a running agent, asked at its status endpoint; and the end of one. */
#include <cJSON.h>
#include <stdio.h>
#include <time.h>

#include "agent/base/clock.h"
#include "agent/commands/command.h"
#include "outputs/http.h"

static const struct flag flags[] = {
    { "address", "HOST:PORT", "the agent's status endpoint, instead of the one in the configuration", 0 },
    { "json", NULL, "list: as JSON, with everything that is known", 0 },
    { NULL, NULL, NULL, 0 },
};

enum { ANSWER_MAX = 64 << 20 };

/* ---- asking -------------------------------------------------------------------------------------------------------- */

static bool find_address(const struct command *self, const struct args *args, char *out, size_t size) {
    const char *given = args_value(self, args, "address");
    struct agent *agent;

    if (given != NULL) {
        snprintf(out, size, "%s", given);
        return true;
    }
    agent = load_or_complain(args, AGENT_OFFLINE);
    if (agent == NULL)
        return false;
    snprintf(out, size, "%s", agent_status_address(agent));
    agent_free(agent);
    return true;
}

/* ":9884" is every address of the machine: this one will do. */
static void make_url(const char *address, char *out, size_t size) {
    snprintf(out, size, "http://%s%s", address[0] == ':' ? "127.0.0.1" : "", address);
}

struct asking {
    struct http_endpoint endpoint;
    struct http *http;
    struct http_options options;
    struct http_answer answer;
};

static void asking_release(struct asking *asking) {
    http_close(asking->http);
    http_endpoint_release(&asking->endpoint);
}

static bool ask(struct asking *asking, const char *address, const char *path, bool remove) {
    static const atomic_bool never = false;
    struct err err = ERR_INIT;
    char url[300];

    *asking = (struct asking){ .options = { .timeout_ns = 30 * NS_PER_S, .body_kept = ANSWER_MAX } };
    if (address[0] == '\0') {
        fprintf(stderr, "heliograf clients: the agent's status endpoint is turned off (status.address): nobody can be asked\n");
        return false;
    }
    make_url(address, url, sizeof url);
    if (!http_endpoint_init(&asking->endpoint, url, NULL, &err) || (asking->http = http_open(&asking->options, &never, &err)) == NULL) {
        fprintf(stderr, "heliograf clients: %s\n", err.text);
        return false;
    }
    const struct http_request request = { .endpoint = &asking->endpoint, .path = path, .remove = remove };
    http_perform(asking->http, &request, &asking->answer);
    if (asking->answer.status == 0)
        fprintf(stderr, "heliograf clients: no answer from %s: %s; is the agent running, with this configuration?\n", url, asking->answer.error);
    return asking->answer.status != 0;
}

/* ---- list ---------------------------------------------------------------------------------------------------------- */

static const char *text_of(const cJSON *client, const char *key) {
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(client, key);

    return cJSON_IsString(value) ? value->valuestring : "";
}

static double number_of(const cJSON *client, const char *key) {
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(client, key);

    return cJSON_IsNumber(value) ? value->valuedouble : 0;
}

static void print_since(const cJSON *client, bool connected) {
    time_t since = (time_t)(number_of(client, connected ? "connected_at" : "disconnected_at") / 1000);
    char text[32] = "";
    struct tm tm;

    if (localtime_r(&since, &tm) != NULL)
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
    printf("%s since %s", connected ? "online " : "offline", text);
}

static void print_client(const cJSON *client) {
    bool connected = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(client, "connected"));

    printf("%-32s ", text_of(client, "client_id"));
    print_since(client, connected);
    printf("  %-21s mqtt %-5s %4.0f subscriptions %6.0f queued %6.0f dropped", connected ? text_of(client, "address") : "-",
           text_of(client, "version"), number_of(client, "subscriptions"), number_of(client, "queued"), number_of(client, "dropped"));
    if (text_of(client, "user")[0] != '\0')
        printf("  user %s", text_of(client, "user"));
    putchar('\n');
}

static int list(const char *address, bool json) {
    struct asking asking;
    int code = EXIT_FAILED;

    if (ask(&asking, address, "/clients", false)) {
        cJSON *clients = asking.answer.status == 200 ? cJSON_ParseWithLength(asking.answer.body.data, asking.answer.body.len) : NULL;
        const cJSON *client;
        if (!cJSON_IsArray(clients)) {
            fprintf(stderr, "heliograf clients: %.*s\n", STR_ARGS(str_trim(asking.answer.body)));
        } else if (json) {
            printf("%.*s\n", STR_ARGS(asking.answer.body));
            code = EXIT_FINE;
        } else {
            cJSON_ArrayForEach(client, clients)
                print_client(client);
            fprintf(stderr, "%d clients\n", cJSON_GetArraySize(clients));
            code = EXIT_FINE;
        }
        cJSON_Delete(clients);
    }
    asking_release(&asking);
    return code;
}

/* ---- kick ---------------------------------------------------------------------------------------------------------- */

static int kick(const char *address, const char *client_id) {
    struct buf path = BUF_INIT(1 << 20);
    struct asking asking;
    int code = EXIT_FAILED;

    buf_append_c(&path, "/clients/");
    for (const char *at = client_id; *at != '\0'; at++) {
        bool plain = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9') || strchr("-_.", *at) != NULL;
        buf_printf(&path, plain ? "%c" : "%%%02X", (unsigned char)*at);
    }
    if (ask(&asking, address, buf_cstr(&path), true)) {
        code = asking.answer.status == 200 ? EXIT_FINE : EXIT_FAILED;
        fprintf(stderr, "heliograf clients: %s: %.*s\n", client_id, STR_ARGS(str_trim(asking.answer.body)));
    }
    asking_release(&asking);
    buf_release(&path);
    return code;
}

static int run(const struct command *self, const struct args *args) {
    const char *verb = args->word_count > 0 ? args->words[0] : "list";
    bool kicks = strcmp(verb, "kick") == 0;
    char address[256];

    if ((!kicks && strcmp(verb, "list") != 0) || args->word_count != (kicks ? 2 : args->word_count > 0)) {
        fprintf(stderr, "heliograf clients: expected `list`, or `kick CLIENT_ID`\n");
        return EXIT_USAGE;
    }
    if (!find_address(self, args, address, sizeof address))
        return EXIT_CONFIGURATION;
    return kicks ? kick(address, args->words[1]) : list(address, args_value(self, args, "json") != NULL);
}

const struct command command_clients = {
    .name = "clients",
    .summary = "List the clients of a running agent's embedded broker, or disconnect one",
    .usage = "[list | kick CLIENT_ID] [flags]",
    .text = "  heliograf clients --config heliograf.yaml\n"
            "  heliograf clients --address 127.0.0.1:9884 --json\n"
            "  heliograf clients kick press-4\n\n"
            "Sessions whose client is away are listed too. A client that was kicked may connect again: take its\n"
            "password away (`heliograf passwd -D`) if it should not. Kicking needs a status address on loopback.\n",
    .flags = flags,
    .takes_config = true,
    .words_max = 2,
    .run = run,
};
