/* Power loss under distributed. */
#include "support/power_cut.h"

int main(void)
{
    return power_cut_run("distributed", false);
}
