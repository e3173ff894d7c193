/*
 * tests/fuzz/fuzz_topic_tree.c: the bytes are additions, removals and matches, shared and not, beside a plain list (topic_tree_model.h).
 */
#include "tests/support/topic_tree_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct tree_model model;

    tree_model_run(&model, (struct words){ data, data + size });
    return 0;
}
