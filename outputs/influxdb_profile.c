/* outputs/influxdb_profile.c: the servers that speak InfluxDB's write API, as data. */
#include "outputs/influxdb_outcome.h"

const struct server_profile server_influx1 = {
    .name = "influx1", .generations = INFLUXDB_V1 | INFLUXDB_V2, .path_prefix = "", .token_scheme = "Token",
    .gzip = true, .reports_partial = true, .databases = true,
};

const struct server_profile server_influx2 = {
    .name = "influx2", .generations = INFLUXDB_V1 | INFLUXDB_V2, .path_prefix = "", .token_scheme = "Token",
    .gzip = true, .reports_partial = true,
};

const struct server_profile server_influx3 = {
    .name = "influx3", .generations = INFLUXDB_V1 | INFLUXDB_V2 | INFLUXDB_V3, .path_prefix = "",
    .token_scheme = "Bearer", .gzip = true, .reports_partial = true,
};

const struct server_profile server_victoria = {
    .name = "victoria", .generations = INFLUXDB_V1 | INFLUXDB_V2, .path_prefix = "", .token_scheme = "Token",
    .gzip = true,
};

const struct server_profile server_victoria_strict = {
    .name = "victoria_strict", .generations = INFLUXDB_V1 | INFLUXDB_V2, .path_prefix = "", .token_scheme = "Token",
    .gzip = true,
};

const struct server_profile server_questdb = {
    .name = "questdb", .generations = INFLUXDB_V1 | INFLUXDB_V2, .path_prefix = "", .token_scheme = "Bearer",
};

const struct server_profile server_greptime = {
    .name = "greptime", .generations = INFLUXDB_V1 | INFLUXDB_V2, .path_prefix = "/v1/influxdb",
    .token_scheme = "token", .login_as_token = true, .gzip = true,
};

const struct server_profile server_tdengine = {
    .name = "tdengine", .generations = INFLUXDB_V1, .path_prefix = "/influxdb/v1", .token_scheme = "Token",
    .gzip = true, .data_is_500 = true,
};

const char *const influxdb_server_names[] = {
    "auto",    "influx1",  "influx2",  "influx3", "victoria", "victoria_strict",
    "questdb", "greptime", "tdengine", NULL,
};

const struct server_profile *influxdb_server(int index) {
    static const struct server_profile *const profiles[] = {
        NULL,           &server_influx1,  &server_influx2,  &server_influx3, &server_victoria, &server_victoria_strict,
        &server_questdb, &server_greptime, &server_tdengine,
    };

    return index > 0 && (size_t)index < sizeof profiles / sizeof profiles[0] ? profiles[index] : NULL;
}

/* `1.6.7`, `v2.7.1`, `3.0.0-beta`, and `Cloud`, which is of the second generation. */
static const struct server_profile *by_version(struct str version) {
    if (version.len > 0 && (version.data[0] == 'v' || version.data[0] == 'V'))
        version = str_make(version.data + 1, version.len - 1);
    if (str_starts_with(version, STR("Cloud")))
        return &server_influx2;
    if (version.len < 2 || version.data[1] != '.')
        return NULL;
    switch (version.data[0]) {
    case '0':
    case '1':
        return &server_influx1;
    case '2':
        return &server_influx2;
    case '3':
        return &server_influx3;
    default:
        return NULL;
    }
}

const struct server_profile *influxdb_recognise(const struct http_answer *answer) {
    /* QuestDB and VictoriaMetrics send a version of InfluxDB as well, so they are looked for first. */
    if (str_starts_with(http_header(answer, "Server"), STR("questDB")))
        return &server_questdb;
    if (http_header(answer, "X-Server-Hostname").len > 0)
        return &server_victoria;
    return by_version(http_header(answer, "X-Influxdb-Version"));
}
