/*
 * The wrapper `crash`: remembers what was done through it, and makes the
 * trees that a power loss at any moment may leave. For tests, which link the
 * static library and hand in the wrapper's own mount ("crash:posix").
 *
 *   uint64_t now = kvt_crash_position(fs);        ... an acknowledgement ...
 *   count = kvt_crash_state_count(fs, position);  of every position so far
 *   kvt_crash_make_state(fs, position, i, directory);
 *
 * docs/crash-model.md has the model and its limits.
 */
#ifndef KVT_FS_CRASH_H
#define KVT_FS_CRASH_H

#include <kvtier/fs.h>

/* Operations since the mount, and the first of them: what was in the tree
 * before is as if synced. */
uint64_t kvt_crash_position(struct kvt_fs *fs);
uint64_t kvt_crash_start(struct kvt_fs *fs);

/* How many states a power loss behind the first `position` operations may
 * leave; 0 when memory ran out. */
size_t kvt_crash_state_count(struct kvt_fs *fs, uint64_t position);

/* Makes one of them in `directory`, which is made and has to be empty. 0 or
 * -errno. */
int kvt_crash_make_state(struct kvt_fs *fs, uint64_t position, size_t state,
                         const char *directory);

/* What the state lost, a line an operation; cut where it does not fit. */
void kvt_crash_describe(struct kvt_fs *fs, uint64_t position, size_t state,
                        char *text, size_t size);

#endif
