/* A store under the fault wrapper. One run makes a store, does some work while
 * calls fail, and opens it again without faults. Whatever happens, the errno
 * arrives, nothing wrong is ever read, nothing leaks, no temporary stays, and
 * the store works again; otherwise the test fails and names the run. */
#ifndef KVT_TESTS_TORTURE_H
#define KVT_TESTS_TORTURE_H

#include "support/store_fixture.h"

enum {
    TORTURE_KEYS = 6, /* 0 to 3 are stored before the faults, the rest is new */
    TORTURE_KINDS = 8,
};

struct torture {
    const char *backend;
    bool owned;  /* by one process, which removes what a dead one left */
    bool is_log; /* objects share files */
    char top[512];
    char root[600];
    char what[160]; /* for messages */
    const char *op;
    int errnum;  /* 0: the fault is a short transfer */
    bool once;   /* the fault is over after one call */
    bool always; /* it begins with the first: somebody must be told */
    bool many;   /* several faults: what undoes an operation may fail, too */
    bool durable;
    bool evicts;
    bool empty; /* the store is made under faults, too */
    char seed[16];
    unsigned deadline_ms; /* 0: none */
    struct kvt_store *store;
    size_t failures;                  /* that the caller was told of */
    unsigned allowed[TORTURE_KEYS];   /* versions that a key may have now */
    unsigned attempted[TORTURE_KEYS]; /* versions ever offloaded */
};

/* A directory of its own for the runs, in memory where there is such a place
 * (free with torture_fini). `op`: the kind of call that fails. */
void torture_init(struct torture *t, const char *backend, const char *op);
void torture_fini(struct torture *t);

/* Chooses one of TORTURE_KINDS stores: durable or not, evicting or not, empty
 * before the faults or not. */
void torture_choose_kind(struct torture *t, size_t kind);

/* The whole suite on one layout; what main returns. */
int torture_suite_run(const char *backend);

/* One run. The other fields of `t`, and `what`, tell what the rules do. */
void torture_once(struct torture *t, const char *rules);

#endif
