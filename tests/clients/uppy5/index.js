// The last Uppy whose S3 plugin is told of uploads by getUploadParameters and its multipart kin.
export { default as AwsS3 } from '@uppy/aws-s3';
export { default as Uppy } from '@uppy/core';
