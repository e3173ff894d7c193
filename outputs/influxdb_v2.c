/* outputs/influxdb_v2.c: InfluxDB 2.x and InfluxDB Cloud: organization, bucket, token. */
#include "outputs/influxdb_common.h"

struct influxdb_v2 {
    struct influxdb influxdb; /* first, see INFLUXDB_FIELD */
    char *organization, *bucket, *bucket_tag;
    bool exclude_bucket_tag, influx_uint_support;
};

#define FIELD(member) offsetof(struct influxdb_v2, member)

static const struct cfg_field options[] = {
    { .key = "organization", .type = CFG_STRING, .offset = FIELD(organization), .fallback = "",
      .help = "Organization that has the bucket.", .example = "acme" },
    { .key = "bucket", .type = CFG_STRING, .offset = FIELD(bucket), .fallback = "",
      .help = "Bucket to write to.", .example = "telemetry" },
    { .key = "bucket_tag", .type = CFG_STRING, .offset = FIELD(bucket_tag), .fallback = "",
      .help = "Tag whose value, when a point has it, is the bucket instead." },
    { .key = "exclude_bucket_tag", .type = CFG_BOOL, .offset = FIELD(exclude_bucket_tag), .fallback = "false",
      .help = "Leave that tag out of the point." },
    INFLUXDB_TOKEN_OPTIONS,
    { .key = "influx_uint_support", .type = CFG_BOOL, .offset = FIELD(influx_uint_support), .fallback = "false",
      .help = "Write unsigned integers as such. Else as signed ones." },
    INFLUXDB_OPTIONS("[\"http://localhost:8086\"]", "10s", "2"),
    CFG_END,
};

static struct str bucket_of(const struct influxdb_v2 *v2, struct str target) {
    return target.len > 0 ? target : str_of(v2->bucket);
}

static bool write_query(const void *self, struct str target, struct buf *query) {
    const struct influxdb_v2 *v2 = self;

    if (v2->organization != NULL && v2->organization[0] != '\0')
        http_query_add(query, "org", str_of(v2->organization));
    http_query_add(query, "bucket", bucket_of(v2, target));
    return http_query_add(query, "precision", STR("ns"));
}

static void describe_target(const void *self, struct buf *out) {
    const struct influxdb_v2 *v2 = self;

    if (v2->organization != NULL && v2->organization[0] != '\0')
        buf_printf(out, " organization %s", v2->organization);
    buf_printf(out, " bucket %s", v2->bucket);
}

static const struct influxdb_api api = {
    .generation = INFLUXDB_V2,
    .own = &server_influx2,
    .write_path = "/api/v2/write",
    .secret_name = "token",
    .write_query = write_query,
    .describe_target = describe_target,
};

static bool is_set(const char *text) {
    return text != NULL && text[0] != '\0';
}

static bool v2_init(void *self, struct err *err) {
    struct influxdb_v2 *v2 = self;

    if (!is_set(v2->bucket))
        return err_set(err, ERR_MISSING, "bucket is empty%s",
                       is_set(v2->bucket_tag) ? ": points without the tag of bucket_tag need one" : "");
    return influxdb_init(&v2->influxdb, &api, err);
}

static bool routes(void *self) {
    const struct influxdb_v2 *v2 = self;

    return is_set(v2->bucket_tag);
}

static void route(void *self, struct str *line, struct str *target, struct buf *scratch) {
    const struct influxdb_v2 *v2 = self;
    const struct route_tag bucket = { v2->bucket_tag, v2->exclude_bucket_tag };

    influxdb_route(&bucket, NULL, line, target, scratch);
}

static bool takes_unsigned(void *self) {
    const struct influxdb_v2 *v2 = self;

    return v2->influx_uint_support;
}

const struct output_type output_influxdb_v2 = {
    .name = "influxdb_v2",
    .summary = "InfluxDB 2.x and InfluxDB Cloud, and every server with their /api/v2/write",
    .state_size = sizeof(struct influxdb_v2),
    .options = options,
    .init = v2_init,
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
