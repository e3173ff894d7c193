/* outputs/gzip.c: see gzip.h. */
#include "outputs/gzip.h"

#include <libdeflate.h>

enum { LEVEL = 1 };

/* An incomplete type of our own, so that libdeflate's stays out of the header. */
struct gzip *gzip_new(void) {
    return (struct gzip *)libdeflate_alloc_compressor(LEVEL);
}

void gzip_free(struct gzip *gzip) {
    if (gzip != NULL)
        libdeflate_free_compressor((struct libdeflate_compressor *)gzip);
}

static bool compress_into(struct gzip *gzip, struct str text, struct buf *out, size_t room) {
    buf_reset(out);
    if (!buf_reserve(out, room))
        return false;
    out->len = libdeflate_gzip_compress((struct libdeflate_compressor *)gzip, text.data, text.len, out->data, out->cap);
    return out->len > 0;
}

bool gzip_compress(struct gzip *gzip, struct str text, struct buf *out) {
    struct libdeflate_compressor *compressor = (struct libdeflate_compressor *)gzip;

    /* Line protocol shrinks to a fifth: room for the worst case is only made when a third did not do. */
    if (compress_into(gzip, text, out, text.len / 3 + 256))
        return true;
    if (compress_into(gzip, text, out, libdeflate_gzip_compress_bound(compressor, text.len)))
        return true;
    buf_reset(out);
    return false;
}
