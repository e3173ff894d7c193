/*
 * outputs/template.c: the skeleton of an output; not part of the program. To add one: copy this file, put it into
 * registry.c, write tests/unit/test_output_<name>.c. This one counts lines and keeps nothing.
 */
#include <stdlib.h>

#include "outputs/output.h"

/* Filled from `options`, then completed by init. Shared by all sender threads: constant after init, or atomic. */
struct template_output {
    char *greeting;
    _Atomic uint64_t lines;
};

/* One sender thread's own: a socket, a handle, buffers. */
struct template_connection {
    const atomic_bool *cancel;
};

/* One row per key. Where Telegraf has the option, it has Telegraf's name, meaning and default. */
static const struct cfg_field options[] = {
    { .key = "greeting", .type = CFG_STRING, .offset = offsetof(struct template_output, greeting),
      .fallback = "hello", .help = "What to say first." },
    CFG_END,
};

/* Checks options against each other. No network: a server that is down must not keep the program from starting. */
static bool template_init(void *self, struct err *err) {
    const struct template_output *output = self;

    if (output->greeting[0] == '\0')
        return err_set(err, ERR_MISSING, "greeting is empty");
    return true;
}

static void *template_open(void *self, const atomic_bool *cancel, struct err *err) {
    struct template_connection *connection = calloc(1, sizeof *connection);

    (void)self;
    if (connection == NULL) {
        err_set(err, ERR_FULL, "out of memory");
        return NULL;
    }
    connection->cancel = cancel; /* whatever waits in `send` looks at it ten times a second */
    return connection;
}

/*
 * Sends, waits, and says what became of it. DELIVERED only when the other side has it for good. When in doubt
 * RETRY_LATER: it keeps the data. PARTIAL and REJECTED give data up, so the answer must name it.
 */
static void template_send(void *self, void *connection, const struct request *request, struct reply *reply) {
    struct template_output *output = self;

    (void)connection;
    reply_reset(reply);
    atomic_fetch_add(&output->lines, request->line_count);
    reply->wire_bytes = request->body.len;
    reply->outcome = DELIVERED;
}

static void template_close(void *self, void *connection) {
    (void)self;
    free(connection);
}

/* For people, and without secrets. */
static void template_describe(void *self, struct buf *out) {
    const struct template_output *output = self;

    buf_printf(out, "nowhere, saying %s", output->greeting);
}

extern const struct output_type output_template;
const struct output_type output_template = {
    .name = "template",
    .summary = "a skeleton to copy",
    .state_size = sizeof(struct template_output),
    .options = options,
    .init = template_init,
    .open = template_open,
    .send = template_send,
    .close = template_close,
    .describe = template_describe,
};
