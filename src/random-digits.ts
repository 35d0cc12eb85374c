/** 16 random hexadecimal digits: what makes names of things different that would be the same. */
export const randomDigits = (): string => crypto.randomUUID().replaceAll('-', '').slice(-16);
