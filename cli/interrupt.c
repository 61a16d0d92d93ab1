#include "interrupt.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

static atomic_bool caught;

static void note(int signal_number)
{
    (void)signal_number;
    atomic_store(&caught, true);
}

void cli_interrupt_catch(void)
{
    struct sigaction action = {
        .sa_handler = note,
        .sa_flags = SA_RESTART | (int)SA_RESETHAND,
    };
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool cli_interrupted(void)
{
    return atomic_load(&caught);
}
