/** What --network=user has in a container: addresses that slirp4netns(1) has unless told otherwise, and pasta is told. */
export const USER_NETWORK = {
  interfaceName: 'tap0',
  address: '10.0.2.100',
  prefix: 24,
  gateway: '10.0.2.2',
  nameServer: '10.0.2.3',
} as const;
