import file from "./icon.svg";

/** The mark of the page, beside its script on the gateway. */
export const iconUrl = new URL(file, import.meta.url).href;
