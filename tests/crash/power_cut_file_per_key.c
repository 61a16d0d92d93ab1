/* Power loss under file_per_key. */
#include "support/power_cut.h"

int main(void)
{
    return power_cut_run("file_per_key", true);
}
