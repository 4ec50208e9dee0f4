package airlift;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Map;
import org.apache.lucene.document.BinaryDocValuesField;
import org.apache.lucene.search.DocValuesFieldExistsQuery;
import org.apache.lucene.search.Query;
import org.apache.lucene.util.BytesRef;
import org.elasticsearch.common.xcontent.support.XContentMapValues;
import org.elasticsearch.index.mapper.DocumentParserContext;
import org.elasticsearch.index.mapper.FieldMapper;
import org.elasticsearch.index.mapper.MappedFieldType;
import org.elasticsearch.index.mapper.MapperBuilderContext;
import org.elasticsearch.index.mapper.SourceValueFetcher;
import org.elasticsearch.index.mapper.TextSearchInfo;
import org.elasticsearch.index.mapper.ValueFetcher;
import org.elasticsearch.index.query.SearchExecutionContext;
import org.elasticsearch.xcontent.XContentParser.Token;

/**
 * The field type dense_vector of Elasticsearch 7 as far as a reader sees it: a mapping with `dims`,
 * which every document is held to. Nothing searches by vector: in 7, only scripts do.
 */
final class DenseVectorMapper extends FieldMapper {
    static final String TYPE = "dense_vector";
    private static final int MOST_DIMS = 2048;

    private final int dims;

    private DenseVectorMapper(String name, MappedFieldType type, int dims, MultiFields fields, CopyTo copyTo) {
        super(name, type, fields, copyTo);
        this.dims = dims;
    }

    static final class Builder extends FieldMapper.Builder {
        private final Parameter<Integer> dims = new Parameter<>(
            "dims",
            false,
            () -> null,
            (name, context, value) -> XContentMapValues.nodeIntegerValue(value),
            mapper -> ((DenseVectorMapper) mapper).dims
        ).addValidator(Builder::check);
        private final Parameter<Map<String, String>> meta = Parameter.metaParam();

        Builder(String name) {
            super(name);
        }

        private static void check(Integer dims) {
            if (dims == null || dims < 1 || dims > MOST_DIMS) {
                throw new IllegalArgumentException("[dims] must be from 1 to " + MOST_DIMS + ", but is " + dims);
            }
        }

        @Override
        protected List<Parameter<?>> getParameters() {
            return List.of(dims, meta);
        }

        @Override
        public DenseVectorMapper build(MapperBuilderContext context) {
            MappedFieldType type = new Type(context.buildFullName(name), meta.getValue());
            return new DenseVectorMapper(
                name,
                type,
                dims.getValue(),
                multiFieldsBuilder.build(this, context),
                copyTo.build()
            );
        }
    }

    private static final class Type extends MappedFieldType {
        Type(String name, Map<String, String> meta) {
            super(name, false, false, true, TextSearchInfo.NONE, meta);
        }

        @Override
        public String typeName() {
            return TYPE;
        }

        @Override
        public ValueFetcher valueFetcher(SearchExecutionContext context, String format) {
            return new SourceValueFetcher(name(), context) {
                @Override
                protected Object parseSourceValue(Object value) {
                    return value;
                }
            };
        }

        @Override
        public Query existsQuery(SearchExecutionContext context) {
            return new DocValuesFieldExistsQuery(name());
        }

        @Override
        public Query termQuery(Object value, SearchExecutionContext context) {
            throw new IllegalArgumentException("Field [" + name() + "] of type [" + TYPE + "] has no queries");
        }
    }

    @Override
    public boolean parsesArrayValue() {
        return true;
    }

    @Override
    protected void parseCreateField(DocumentParserContext context) throws IOException {
        if (context.parser().currentToken() == Token.VALUE_NULL) {
            return;
        }
        ByteBuffer vector = ByteBuffer.allocate(dims * Float.BYTES);
        int count = 0;
        for (Token token = context.parser().nextToken(); token != Token.END_ARRAY; token = context.parser().nextToken()) {
            if (token != Token.VALUE_NUMBER) {
                throw new IllegalArgumentException("Field [" + name() + "] has a [" + token + "] among its numbers");
            }
            if (++count <= dims) {
                vector.putFloat(context.parser().floatValue());
            }
        }
        if (count != dims) {
            throw new IllegalArgumentException("Field [" + name() + "] has " + count + " dimensions, not " + dims);
        }
        context.doc().add(new BinaryDocValuesField(fieldType().name(), new BytesRef(vector.array())));
    }

    @Override
    public FieldMapper.Builder getMergeBuilder() {
        return new Builder(simpleName()).init(this);
    }

    @Override
    protected String contentType() {
        return TYPE;
    }
}
