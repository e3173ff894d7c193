/*
 * outputs/influxdb_outcome.h: what an answer means. Servers that speak InfluxDB's write API differ in what they have
 * stored after an error and in how they say so; the differences are data here, and the decision is one pure function.
 */
#ifndef HELIOGRAF_OUTPUTS_INFLUXDB_OUTCOME_H
#define HELIOGRAF_OUTPUTS_INFLUXDB_OUTCOME_H

#include "outputs/http.h"
#include "outputs/output.h"

enum influxdb_generation { INFLUXDB_V1 = 1, INFLUXDB_V2 = 2, INFLUXDB_V3 = 4 }; /* write APIs, as bits */

struct server_profile {
    const char *name;         /* as in `server:` */
    unsigned generations;     /* the write APIs it has */
    const char *path_prefix;  /* before /write and /api/v2/write */
    const char *token_scheme; /* in the Authorization header */
    bool login_as_token;      /* user and password go as a token `user:password`, not as Basic */
    bool gzip;
    bool reports_partial; /* after "partial write" it has all lines but the refused ones */
    bool data_is_500;     /* lines it cannot take are answered with 500 */
    bool databases;       /* POST /query with CREATE DATABASE works and is needed */
};

extern const struct server_profile server_influx1, server_influx2, server_influx3;
extern const struct server_profile server_victoria;        /* refused lines of a 204 show only in its own metrics */
extern const struct server_profile server_victoria_strict; /* since October 2024: one bad line refuses the request */
extern const struct server_profile server_questdb, server_greptime, server_tdengine;

/* "auto", then the profiles' names, NULL-ended: for an option table. The index fits influxdb_server(). */
extern const char *const influxdb_server_names[];
const struct server_profile *influxdb_server(int index); /* NULL for "auto" */

/* Who answered a GET /ping, by its headers; NULL when they do not tell. */
const struct server_profile *influxdb_recognise(const struct http_answer *answer);

/* What the sender can do at once about an answer, before anybody hears of it. */
enum influxdb_advice {
    ADVICE_NONE,
    ADVICE_NO_GZIP,       /* 415: send plain, now and from now on */
    ADVICE_RESEND_PLAIN,  /* the compressed body arrived damaged: send it plain, once */
    ADVICE_CREDENTIALS,   /* read them again; with new ones the request may pass */
    ADVICE_DATABASE,      /* create the database */
    ADVICE_OTHER_API,     /* nothing at this path: ask again who the server is */
    ADVICE_WITHOUT_NAMED, /* nothing is stored because of the lines in reply->rejected: send the others */
    ADVICE_OTHER_SERVER,  /* this one is in trouble: another one of `urls` may do */
};

/*
 * Fills outcome, retry, status, retry_after_ns, reason and rejected of a reset `reply`. Pure, any thread, any bytes.
 * By status first, by text second: a 401 says "unable to parse" too. With ADVICE_WITHOUT_NAMED the outcome is SPLIT
 * and the lines named are for the caller only: it clears them unless sending the others makes the request PARTIAL.
 */
enum influxdb_advice influxdb_outcome(const struct http_answer *answer, const struct server_profile *server,
                                      const struct request *request, struct reply *reply);

#endif
