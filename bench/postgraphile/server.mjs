// PostGraphile 5 over the tables as they are: no plugin but the one for filters, no cache of answers, no explorer.
import { createServer } from "node:http";
import { grafserv } from "postgraphile/grafserv/node";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";
import { makePgService } from "postgraphile/adaptors/pg";
import { postgraphile } from "postgraphile";
import { makeJSONPgSmartTagsPlugin } from "postgraphile/utils";
import { PostGraphileConnectionFilterPreset } from "postgraphile-plugin-connection-filter";

// Telemetry has no foreign keys; these tell of the two that the benchmark follows.
const telemetry = makeJSONPgSmartTagsPlugin({
  version: 1,
  config: {
    class: {
      "public.op_events": {
        tags: {
          foreignKey: [
            "(tenant_id, instance_id) references public.agent_instances (tenant_id, id)",
            "(tenant_id, change_record_id) references public.change_records (tenant_id, id)",
          ],
        },
      },
    },
  },
});

const preset = {
  extends: [PostGraphileAmberPreset, PostGraphileConnectionFilterPreset],
  plugins: [telemetry],
  pgServices: [
    makePgService({
      connectionString: process.env.BENCH_DATABASE_URL,
      schemas: ["public"],
      poolConfig: { max: Number(process.env.BENCH_POOL_SIZE) },
    }),
  ],
  grafserv: { graphiql: false, watch: false, websockets: false },
  grafast: { explain: false },
};

const instance = postgraphile(preset);
const served = instance.createServ(grafserv);
const server = createServer();
await served.addTo(server);
if (process.argv.includes("--schema")) {
  const { printSchema } = await import("postgraphile/graphql");
  console.log(printSchema(await instance.getSchema()));
  process.exit(0);
}
await instance.getSchema();
server.keepAliveTimeout = 60_000;
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
process.on("SIGTERM", () => process.exit(0));
