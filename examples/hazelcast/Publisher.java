import com.hazelcast.config.Config;
import com.hazelcast.core.EntryEvent;
import com.hazelcast.core.Hazelcast;
import com.hazelcast.core.HazelcastInstance;
import com.hazelcast.core.HazelcastJsonValue;
import com.hazelcast.map.IMap;
import com.hazelcast.map.listener.EntryAddedListener;
import com.hazelcast.map.listener.EntryUpdatedListener;
import java.net.InetSocketAddress;
import java.time.LocalDateTime;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.java_websocket.WebSocket;
import org.java_websocket.drafts.Draft;
import org.java_websocket.exceptions.InvalidDataException;
import org.java_websocket.handshake.ClientHandshake;
import org.java_websocket.handshake.ServerHandshakeBuilder;
import org.java_websocket.server.WebSocketServer;

/**
 * A Hazelcast member whose map of drivers changes, and which publishes each change through a WebSocket:
 *
 * <pre>{"key":1001,"event":"UPDATED","value":{"driver_id":1001,"event_timestamp":"2025-01-01T00:10:00",…}}</pre>
 *
 * Arguments: the port, the number of drivers, of updates of each, and the milliseconds from one update of all to the
 * next. The map begins to change when the first listener is there; one that comes later first gets what is in it.
 */
public final class Publisher {
    private static final String PATH = "/drivers";
    private static final LocalDateTime FIRST = LocalDateTime.of(2025, 1, 1, 0, 0);

    public static void main(String[] arguments) throws InterruptedException {
        int port = Integer.parseInt(arguments[0]);
        int drivers = Integer.parseInt(arguments[1]);
        int updates = Integer.parseInt(arguments[2]);
        int pause = Integer.parseInt(arguments[3]);
        String token = System.getenv().getOrDefault("HZ_TOKEN", "none");

        IMap<Integer, HazelcastJsonValue> map = member().getMap("drivers");
        Listeners listeners = new Listeners(port, "Bearer " + token, map);
        // The map's changes are told in their order for each key, once they are in it.
        map.addEntryListener((EntryAddedListener<Integer, HazelcastJsonValue>) listeners::publish, true);
        map.addEntryListener((EntryUpdatedListener<Integer, HazelcastJsonValue>) listeners::publish, true);
        listeners.start();

        listeners.first.await();
        for (int update = 0; update < updates; update++) {
            for (int driver = 1001; driver < 1001 + drivers; driver++) {
                map.set(driver, new HazelcastJsonValue(stats(driver, update)));
            }
            Thread.sleep(pause);
        }
        System.out.println("published " + updates + " updates of " + drivers + " drivers");
        Thread.currentThread().join();
    }

    /** A cluster of one, which looks for no others and calls nobody. */
    private static HazelcastInstance member() {
        Config config = new Config();
        config.setProperty("hazelcast.phone.home.enabled", "false");
        config.setProperty("hazelcast.logging.type", "none");
        config.getNetworkConfig().setPortAutoIncrement(true);
        config.getNetworkConfig().getInterfaces().setEnabled(true).addInterface("127.0.0.1");
        config.getNetworkConfig().getJoin().getAutoDetectionConfig().setEnabled(false);
        config.getNetworkConfig().getJoin().getMulticastConfig().setEnabled(false);
        return Hazelcast.newHazelcastInstance(config);
    }

    /** A driver's statistics of ten minutes; quarters and their like, so that they print as they are. */
    private static String stats(int driver, int update) {
        LocalDateTime time = FIRST.plusMinutes(10L * update);
        double conv = (driver * 7 + update * 13) % 64 / 64.0;
        double acc = (driver * 3 + update * 5) % 32 / 32.0;
        return String.format(
            Locale.ROOT,
            "{\"driver_id\":%d,\"event_timestamp\":\"%s:00\",\"conv_percentage\":%s,\"acc_percentage\":%s,\"created\":\"%s:30\"}",
            driver, time, conv, acc, time);
    }

    /** Whoever listens. */
    private static final class Listeners extends WebSocketServer {
        final CountDownLatch first = new CountDownLatch(1);
        private final String authorization;
        private final IMap<Integer, HazelcastJsonValue> map;

        Listeners(int port, String authorization, IMap<Integer, HazelcastJsonValue> map) {
            super(new InetSocketAddress("127.0.0.1", port), 1);
            setReuseAddr(true);
            setDaemon(true);
            this.authorization = authorization;
            this.map = map;
        }

        void publish(EntryEvent<Integer, HazelcastJsonValue> event) {
            broadcast(frame(event.getKey(), event.getEventType().name(), event.getValue()));
        }

        private static String frame(int key, String event, HazelcastJsonValue value) {
            return "{\"key\":" + key + ",\"event\":\"" + event + "\",\"value\":" + value + "}";
        }

        @Override
        public ServerHandshakeBuilder onWebsocketHandshakeReceivedAsServer(
                WebSocket socket, Draft draft, ClientHandshake request) throws InvalidDataException {
            if (!request.getResourceDescriptor().equals(PATH)
                    || !request.getFieldValue("Authorization").equals(authorization)) {
                throw new InvalidDataException(1008, "not allowed");
            }
            return super.onWebsocketHandshakeReceivedAsServer(socket, draft, request);
        }

        @Override
        public void onOpen(WebSocket socket, ClientHandshake request) {
            for (Map.Entry<Integer, HazelcastJsonValue> entry : map.entrySet()) {
                socket.send(frame(entry.getKey(), "ADDED", entry.getValue()));
            }
            first.countDown();
        }

        @Override
        public void onStart() {
            System.out.println("publishing at ws://127.0.0.1:" + getPort() + PATH);
        }

        @Override
        public void onError(WebSocket socket, Exception error) {
            System.err.println(error);
            if (socket == null) {
                System.exit(1);
            }
        }

        @Override
        public void onMessage(WebSocket socket, String message) {}

        @Override
        public void onClose(WebSocket socket, int code, String reason, boolean remote) {}
    }
}
