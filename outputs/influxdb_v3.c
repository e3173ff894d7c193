/* outputs/influxdb_v3.c: InfluxDB 3 Core and Enterprise: database, token; lines it refuses are named by number. */
#include "outputs/influxdb_common.h"

struct influxdb_v3 {
    struct influxdb influxdb; /* first, see INFLUXDB_FIELD */
    char *database, *database_tag;
    bool exclude_database_tag, sync, convert_uint_to_int;
};

#define FIELD(member) offsetof(struct influxdb_v3, member)

static const struct cfg_field options[] = {
    { .key = "database", .type = CFG_STRING, .offset = FIELD(database), .fallback = "",
      .help = "Database to write to; the server creates it.", .example = "telemetry" },
    { .key = "database_tag", .type = CFG_STRING, .offset = FIELD(database_tag), .fallback = "",
      .help = "Tag whose value, when a point has it, is the database instead." },
    { .key = "exclude_database_tag", .type = CFG_BOOL, .offset = FIELD(exclude_database_tag), .fallback = "false",
      .help = "Leave that tag out of the point." },
    INFLUXDB_TOKEN_OPTIONS,
    { .key = "sync", .type = CFG_BOOL, .offset = FIELD(sync), .fallback = "true",
      .help = "Wait until the server has the data on disk. false is faster and loses data when the server dies." },
    { .key = "convert_uint_to_int", .type = CFG_BOOL, .offset = FIELD(convert_uint_to_int), .fallback = "false",
      .help = "Write unsigned integers as signed ones." },
    INFLUXDB_OPTIONS("[\"http://localhost:8181\"]", "10s", "4"),
    CFG_END,
};

static bool write_query(const void *self, struct str target, struct buf *query) {
    const struct influxdb_v3 *v3 = self;

    http_query_add(query, "db", target.len > 0 ? target : str_of(v3->database));
    http_query_add(query, "precision", STR("nanosecond"));
    if (!v3->sync)
        http_query_add(query, "no_sync", STR("true"));
    return http_query_add(query, "accept_partial", STR("true"));
}

static void describe_target(const void *self, struct buf *out) {
    const struct influxdb_v3 *v3 = self;

    buf_printf(out, " database %s", v3->database);
}

static const struct influxdb_api api = {
    .generation = INFLUXDB_V3,
    .own = &server_influx3,
    .write_path = "/api/v3/write_lp",
    .secret_name = "token",
    .write_query = write_query,
    .describe_target = describe_target,
};

static bool v3_init(void *self, struct err *err) {
    struct influxdb_v3 *v3 = self;

    if (v3->database == NULL || v3->database[0] == '\0')
        return err_set(err, ERR_MISSING, "database is empty");
    return influxdb_init(&v3->influxdb, &api, err);
}

static bool routes(void *self) {
    const struct influxdb_v3 *v3 = self;

    return v3->database_tag != NULL && v3->database_tag[0] != '\0';
}

static void route(void *self, struct str *line, struct str *target, struct buf *scratch) {
    const struct influxdb_v3 *v3 = self;
    const struct route_tag database = { v3->database_tag, v3->exclude_database_tag };

    influxdb_route(&database, NULL, line, target, scratch);
}

static bool takes_unsigned(void *self) {
    const struct influxdb_v3 *v3 = self;

    return !v3->convert_uint_to_int;
}

const struct output_type output_influxdb_v3 = {
    .name = "influxdb_v3",
    .summary = "InfluxDB 3 Core and Enterprise",
    .state_size = sizeof(struct influxdb_v3),
    .options = options,
    .init = v3_init,
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
