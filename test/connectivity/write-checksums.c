// SPDX-License-Identifier: Apache-2.0
// write-checksums DEVICE: from now on the stack writes the checksums of what it sends there, as if on a wire, instead of
// leaving them to the device.
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
	struct ethtool_value value = { .cmd = ETHTOOL_STXCSUM };
	struct ifreq request = { .ifr_data = (void *)&value };
	if (argc != 2 || strlen(argv[1]) >= IFNAMSIZ) {
		fprintf(stderr, "usage: write-checksums DEVICE\n");
		return 2;
	}
	strcpy(request.ifr_name, argv[1]);
	if (ioctl(socket(AF_INET, SOCK_DGRAM, 0), SIOCETHTOOL, &request)) {
		perror("write-checksums");
		return 1;
	}
	return 0;
}
