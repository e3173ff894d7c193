/* outputs/influxdb_v1.c: InfluxDB 1.x and what speaks its /write: database, retention policy, user and password. */
#include <cjson/cJSON.h>
#include <stdio.h>

#include "outputs/influxdb_common.h"

struct influxdb_v1 {
    struct influxdb influxdb; /* first, see INFLUXDB_FIELD */
    char *database, *database_tag, *retention_policy, *retention_policy_tag;
    bool exclude_database_tag, exclude_retention_policy_tag, skip_database_creation, influx_uint_support;
    int write_consistency;
};

static const char *const consistency_names[] = { "", "any", "one", "quorum", "all", NULL };

#define FIELD(member) offsetof(struct influxdb_v1, member)

static const struct cfg_field options[] = {
    { .key = "database", .type = CFG_STRING, .offset = FIELD(database), .fallback = "telegraf",
      .help = "Database to write to." },
    { .key = "database_tag", .type = CFG_STRING, .offset = FIELD(database_tag), .fallback = "",
      .help = "Tag whose value, when a point has it, is the database instead." },
    { .key = "exclude_database_tag", .type = CFG_BOOL, .offset = FIELD(exclude_database_tag), .fallback = "false",
      .help = "Leave that tag out of the point." },
    { .key = "skip_database_creation", .type = CFG_BOOL, .offset = FIELD(skip_database_creation), .fallback = "false",
      .help = "Do not create a database that is missing." },
    { .key = "retention_policy", .type = CFG_STRING, .offset = FIELD(retention_policy), .fallback = "",
      .help = "Retention policy to write to; empty: the database's default." },
    { .key = "retention_policy_tag", .type = CFG_STRING, .offset = FIELD(retention_policy_tag), .fallback = "",
      .help = "Tag whose value, when a point has it, is the retention policy instead." },
    { .key = "exclude_retention_policy_tag", .type = CFG_BOOL, .offset = FIELD(exclude_retention_policy_tag),
      .fallback = "false", .help = "Leave that tag out of the point." },
    { .key = "write_consistency", .type = CFG_ENUM, .offset = FIELD(write_consistency), .fallback = "\"\"",
      .names = consistency_names, .help = "any, one, quorum or all; clusters only.", .flags = CFG_EXPERT },
    { .key = "username", .type = CFG_STRING, .offset = INFLUXDB_FIELD(username), .fallback = "",
      .help = "User with the right to write." },
    { .key = "password", .type = CFG_SECRET, .offset = INFLUXDB_FIELD(secret.value),
      .help = "The user's password.", .example = "\"${INFLUX_PASSWORD}\"" },
    { .key = "password_file", .type = CFG_STRING, .offset = INFLUXDB_FIELD(secret.file),
      .help = "File with the password; read again whenever it changes.", .example = "/etc/heliograf/password" },
    { .key = "influx_uint_support", .type = CFG_BOOL, .offset = FIELD(influx_uint_support), .fallback = "false",
      .help = "Write unsigned integers as such; needs InfluxDB 1.4 built with it. Else as signed ones." },
    { .key = "udp_payload", .type = CFG_STRING, .offset = INFLUXDB_FIELD(ignored), .flags = CFG_IGNORED,
      .help = "udp is not supported: it loses data" },
    INFLUXDB_OPTIONS("[\"http://localhost:8086\"]", "15s", "2"),
    CFG_END,
};

static struct str database_of(const struct influxdb_v1 *v1, struct str target) {
    struct str database = str_split(&target, ROUTE_SEPARATOR);

    return database.len > 0 ? database : str_of(v1->database);
}

static struct str retention_policy_of(const struct influxdb_v1 *v1, struct str target) {
    str_split(&target, ROUTE_SEPARATOR);
    if (target.data != NULL && target.len > 0)
        return target;
    return str_of(v1->retention_policy != NULL ? v1->retention_policy : "");
}

static bool write_query(const void *self, struct str target, struct buf *query) {
    const struct influxdb_v1 *v1 = self;
    struct str retention_policy = retention_policy_of(v1, target);

    http_query_add(query, "db", database_of(v1, target));
    if (retention_policy.len > 0)
        http_query_add(query, "rp", retention_policy);
    if (v1->write_consistency > 0)
        http_query_add(query, "consistency", str_of(consistency_names[v1->write_consistency]));
    return http_query_add(query, "precision", STR("ns"));
}

/* An identifier of InfluxQL: in double quotes, with `"`, `\` and newline escaped. */
static void append_identifier(struct buf *out, struct str name) {
    buf_append_char(out, '"');
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        if (c == '"' || c == '\\')
            buf_append_char(out, '\\');
        if (c == '\n')
            buf_append_c(out, "\\n");
        else
            buf_append_char(out, c);
    }
    buf_append_char(out, '"');
}

/* /query answers 200 and tells the statement's error in `results`. */
static bool statement_failed(const struct http_answer *answer, char *words, size_t size) {
    cJSON *json = cJSON_ParseWithLength(answer->body.data, answer->body.len);
    const cJSON *result = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(json, "results"), 0);
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(result, "error");
    bool failed = true;

    if (error == NULL)
        error = cJSON_GetObjectItemCaseSensitive(json, "error");
    if (cJSON_IsString(error))
        reply_words(words, size, str_of(error->valuestring));
    else if (answer->status / 100 != 2)
        snprintf(words, size, "HTTP status %d", answer->status);
    else
        failed = false;
    cJSON_Delete(json);
    return failed;
}

static bool may_create(const void *self) {
    const struct influxdb_v1 *v1 = self;

    return !v1->skip_database_creation;
}

static bool create_target(void *self, struct influxdb_connection *connection, struct str target, struct reply *reply) {
    struct influxdb_v1 *v1 = self;
    struct buf statement = BUF_INIT(4096), form = BUF_INIT(16384);
    struct http_answer answer = { .status = 0 };
    char words[120] = "";
    bool created = false;

    buf_append_c(&statement, "CREATE DATABASE ");
    append_identifier(&statement, database_of(v1, target));
    if (!statement.failed && http_query_add(&form, "q", buf_str(&statement))) {
        influxdb_post_form(connection, "/query", buf_str(&form), &answer);
        created = answer.status != 0 && !statement_failed(&answer, words, sizeof words);
    }
    if (!created)
        snprintf(reply->reason, sizeof reply->reason, "database not found, and creating it failed: %.140s",
                 words[0] != '\0' ? words : answer.error);
    buf_release(&statement);
    buf_release(&form);
    return created;
}

static void describe_target(const void *self, struct buf *out) {
    const struct influxdb_v1 *v1 = self;

    buf_printf(out, " database %s", v1->database);
    if (v1->retention_policy != NULL && v1->retention_policy[0] != '\0')
        buf_printf(out, " retention policy %s", v1->retention_policy);
}

static const struct influxdb_api api = {
    .generation = INFLUXDB_V1,
    .own = &server_influx1,
    .write_path = "/write",
    .secret_name = "password",
    .write_query = write_query,
    .may_create = may_create,
    .create_target = create_target,
    .describe_target = describe_target,
};

static bool v1_init(void *self, struct err *err) {
    struct influxdb_v1 *v1 = self;

    if (v1->database == NULL || v1->database[0] == '\0')
        return err_set(err, ERR_MISSING, "database is empty");
    return influxdb_init(&v1->influxdb, &api, err);
}

static bool routes(void *self) {
    const struct influxdb_v1 *v1 = self;

    return (v1->database_tag != NULL && v1->database_tag[0] != '\0') ||
           (v1->retention_policy_tag != NULL && v1->retention_policy_tag[0] != '\0');
}

static void route(void *self, struct str *line, struct str *target, struct buf *scratch) {
    const struct influxdb_v1 *v1 = self;
    const struct route_tag database = { v1->database_tag, v1->exclude_database_tag };
    const struct route_tag retention_policy = { v1->retention_policy_tag, v1->exclude_retention_policy_tag };

    influxdb_route(&database, &retention_policy, line, target, scratch);
}

static bool takes_unsigned(void *self) {
    const struct influxdb_v1 *v1 = self;

    return v1->influx_uint_support;
}

const struct output_type output_influxdb = {
    .name = "influxdb",
    .summary = "InfluxDB 1.x, and every server with its /write: VictoriaMetrics, QuestDB, GreptimeDB, TDengine",
    .state_size = sizeof(struct influxdb_v1),
    .options = options,
    .init = v1_init,
    .open = influxdb_open,
    .send = influxdb_send,
    .close = influxdb_close,
    .route = route,
    .routes = routes,
    .probe = influxdb_probe,
    .concurrency = influxdb_concurrency,
    .takes_unsigned = takes_unsigned,
    .describe = influxdb_describe,
    .fini = influxdb_fini,
};
